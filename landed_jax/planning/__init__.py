"""What a call takes on a slice of TPUs or on GPUs, from shapes alone: memory a chip, time, and the mesh to choose."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
