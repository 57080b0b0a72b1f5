"""Prompts with known answers for models with ordinary tokenizers, each with a corrupted prompt beside it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
