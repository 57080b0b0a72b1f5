"""Exact shares of what is read: over heads, neurons, layers, source tokens; direct effects beside them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
