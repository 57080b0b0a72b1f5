"""What reads the stream: a logit, a neuron, a head or a vector, as one linear reading at one norm."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
