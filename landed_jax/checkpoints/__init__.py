"""Models on disk: the native folder (Orbax), Hugging Face checkpoints, the bundled model."""
