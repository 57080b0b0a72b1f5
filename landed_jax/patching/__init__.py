"""Activation patching and attribution patching: one prompt's values put into the run of another."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
