"""Attribution methods of the literature under one interface: a score for each head, neuron and input token."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
