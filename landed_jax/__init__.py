"""Exact direct logit attribution for decoder models in JAX: what each head and neuron writes, as it is heard.

The public names are those of the stub file beside this one, each imported when it is first asked for: `landed --help`
waits for no JAX.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
