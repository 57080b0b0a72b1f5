"""What is written to the stream: one write by name, one number for every write, and products of all of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
