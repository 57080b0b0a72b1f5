"""What landed writes tell: each idea one small file of pure functions of a `Trace`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
