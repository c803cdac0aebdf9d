"""One run, from config to a tracked, evaluated, predicted model; `run.py` is the pipeline on one screen."""
