"""Trains one run, from its config to tracked results and predictions; `run.py` has the whole pipeline."""
