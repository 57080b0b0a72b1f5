"""What heads and neurons do over many prompts: head scores, name movers, the contexts that activate most."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
