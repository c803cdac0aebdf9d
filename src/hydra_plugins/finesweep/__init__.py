"""Hydra plugins of finesweep; discovery imports them on every start, so no torch, mlflow or optuna here."""
