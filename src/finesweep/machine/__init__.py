"""The machine under a run: its device, its determinism, and each worker's place on it."""
