"""Cost and memory beside plain torch, hand-written hooks and TransformerLens: ``python -m benchmarks``."""
