"""The study in Optuna: its search space, its queue of trials, its budget and who works on it."""
