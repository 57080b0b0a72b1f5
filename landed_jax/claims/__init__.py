"""Public claims about landed writes, each measured on any model under every reading that its words allow."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
