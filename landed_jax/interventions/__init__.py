"""Interventions as data, sweeps over many of them, and total, direct and indirect effects."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
