"""The `finesweep` command; one file a verb."""
