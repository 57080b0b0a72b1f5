"""How much memory there is, how much a call will need, and what to say where that is too much."""
