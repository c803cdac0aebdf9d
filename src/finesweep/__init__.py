"""Fine-tuning sweeps that leave a trail: Hydra composes, Optuna searches, Trainer trains, MLflow remembers.

The names of `__all__` are imported when they are first used, so that `import finesweep` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finesweep.api.composing import load_config
    from finesweep.api.predicting import predict
    from finesweep.api.running import run, sweep
    from finesweep.api.study import Study, open_study
    from finesweep.config.run import RunConfig
    from finesweep.errors import (
        ConfigError,
        DataError,
        FinesweepError,
        ModelError,
        NotReproduced,
        NotValid,
        OutputError,
        RunError,
        StudyError,
        SubmissionError,
        SweepFailed,
    )
    from finesweep.training.run import RunResult

    __version__: str

__all__ = [
    "ConfigError",
    "DataError",
    "FinesweepError",
    "ModelError",
    "NotReproduced",
    "NotValid",
    "OutputError",
    "RunConfig",
    "RunError",
    "RunResult",
    "Study",
    "StudyError",
    "SubmissionError",
    "SweepFailed",
    "__version__",
    "load_config",
    "open_study",
    "predict",
    "run",
    "sweep",
]

_MODULES = {
    "RunConfig": "finesweep.config.run",
    "RunResult": "finesweep.training.run",
    "Study": "finesweep.api.study",
    "load_config": "finesweep.api.composing",
    "open_study": "finesweep.api.study",
    "predict": "finesweep.api.predicting",
    "run": "finesweep.api.running",
    "sweep": "finesweep.api.running",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'finesweep' has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version  # brings half of the standard library along

        return version("finesweep")
    return getattr(import_module(_MODULES.get(name, "finesweep.errors")), name)
