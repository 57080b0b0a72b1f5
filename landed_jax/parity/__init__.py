"""Parity with `transformers`, rung by rung. The one place that uses torch, and only when asked."""
