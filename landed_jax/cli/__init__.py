"""The command line: `landed run`, `convert`, `verify`, `info`. No mathematics, and nothing heavy until it is needed."""

from landed_jax.cli.main import main

__all__ = ["main"]
