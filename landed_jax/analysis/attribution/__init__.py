"""Exact shares of what is read: over heads, neurons, layers, source tokens; direct effects beside them."""
