"""Figures: every result of an analysis as an ordinary figure of Matplotlib."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
