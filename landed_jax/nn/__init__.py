"""The decoder: pure functions for the mathematics, thin Flax modules that hold the parameters."""
