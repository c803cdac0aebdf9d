"""The faults that `faults.py` causes: one file for each theme, `base.py` for what they share."""
