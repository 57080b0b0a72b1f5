"""How much memory there is, how much a call will need, and what to say where that is too much."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
