"""Results with named axes: as an `xarray.Dataset`, as a table of `pandas`, and in one file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
