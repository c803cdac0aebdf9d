"""Fine-tuning sweeps that leave a trail: Hydra composes, Optuna chooses, Trainer trains, MLflow remembers."""
