"""The tasks: sentences whose next word is known, each with a foil, the evidence and a matched corrupted sentence."""
