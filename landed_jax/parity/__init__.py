"""Parity with `transformers`, rung by rung. The only importer of torch, at call time."""
