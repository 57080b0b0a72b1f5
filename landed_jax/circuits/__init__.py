"""Paths and edges between heads and MLPs: path patching, edge attribution, runs of a circuit, circuits as files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
