"""Implements the `finesweep` command; each verb has a file of its own."""
