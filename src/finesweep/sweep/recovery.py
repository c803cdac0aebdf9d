"""Nothing stays RUNNING whose process is gone, neither in Optuna nor in MLflow."""

from finesweep import tracking
from finesweep.config import TrackingConfig
from finesweep.sweep.study import Ledger


def recover(ledger: Ledger, config: TrackingConfig, reason: str | None = "its worker is gone") -> int:
    """Ends and requeues the trials of dead workers, and closes their MLflow runs. Returns how many.

    reason: None if they were interrupted on purpose.
    """
    lost = ledger.recover(reason)
    for trial in lost:
        tracking.kill_trial_runs(config, ledger.name, trial.number)
    return len(lost)
