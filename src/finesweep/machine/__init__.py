"""The machine: the device of a run, determinism, how many workers it takes, and where each of them runs."""
