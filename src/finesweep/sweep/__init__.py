"""Which run is next: Optuna's study, its workers, and what happens when one of them dies."""
