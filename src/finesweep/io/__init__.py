"""Reads and writes: staged files, whole checkpoints, the hub, and secrets that are kept out of every file."""
