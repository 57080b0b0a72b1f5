"""Text that a model goes on with: a cache of keys and values, one column a step, and what each token came from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
