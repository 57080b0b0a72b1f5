"""Writes as a norm hears them: landed vectors, their lengths at every site, and the closure error."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
