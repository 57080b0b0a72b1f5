"""The decoder: pure functions for the mathematics, thin Flax modules that hold the parameters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
