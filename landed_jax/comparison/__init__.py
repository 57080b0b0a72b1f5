"""Scores of attribution methods: against ablated heads and neurons, by faithfulness, by known evidence, and by cost."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
