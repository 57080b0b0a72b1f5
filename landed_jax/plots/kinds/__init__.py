"""What the figures of each kind of result show, one file a subject; `landed_jax.plots.figures` finds them."""
