"""What a sweep is, as dataclasses: the node `hydra.sweeper`, usually filled by a file under `sweeps/`."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from finesweep.checks import NAME
from finesweep.errors import ConfigError


class Sampler(Enum):
    """Optuna's samplers by name; grid tries every point once."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    gp = "gp"
    cmaes = "cmaes"
    qmc = "qmc"


@dataclass
class StudyConfig:
    name: str | None = None  # null: the sweep's name, with data= and model= of the command line
    storage: str = "sqlite:///mlruns/optuna.db"
    n_trials: int = 20  # finished ones (complete or pruned) over the study's whole life
    sampler: Sampler = Sampler.tpe
    sampler_options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of Optuna's class
    seed: int = 0
    max_failures: int = 10  # failed trials over the study's life that end the sweep
    max_retries: int = 2  # of a trial whose worker died or was interrupted


@dataclass
class SweepConfig:
    _target_: str = "hydra_plugins.finesweep.sweeper.FinesweepSweeper"
    study: StudyConfig = field(default_factory=StudyConfig)
    params: dict[str, str] = field(default_factory=dict)  # key: text in Hydra's sweep grammar
    enqueue: list[dict[str, Any]] = field(default_factory=list)  # points to try first
    workers: Any = "auto"  # auto, or how many
    keep_checkpoints: int = 3  # of the best trials, as artifacts; the others' weights go


def check_sweep(config: SweepConfig) -> None:
    """Raises: ConfigError for numbers that no sweep can be made of."""
    study = config.study
    for key, value, least in (
        ("study.n_trials", study.n_trials, 1),
        ("study.max_failures", study.max_failures, 1),
        ("study.max_retries", study.max_retries, 0),
        ("study.seed", study.seed, 0),
        ("keep_checkpoints", config.keep_checkpoints, 1),
    ):
        if value < least:
            raise ConfigError.at(f"hydra.sweeper.{key}", value, f"a whole number, {least} or more")
    fine, legal = NAME
    if not fine(study.name):
        raise ConfigError.at("hydra.sweeper.study.name", study.name, legal)
    workers = config.workers
    if workers != "auto" and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise ConfigError.at("hydra.sweeper.workers", workers, "auto, or a whole number, 1 or more")
