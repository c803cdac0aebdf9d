"""The config of a sweep: the node `hydra.sweeper`, usually filled in by a file under `sweeps/`."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from finesweep.config.rules import COUNT, NAME, NOT_NEGATIVE, POSITIVE, WHOLE, Rule, check_rules, ruled
from finesweep.config.run import Direction
from finesweep.errors import ConfigError


class Sampler(Enum):
    """Optuna's samplers by name. `grid` tries every point once."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    gp = "gp"
    cmaes = "cmaes"
    qmc = "qmc"


class Pruner(Enum):
    """Optuna's pruners by name. They count steps in per cent of a trial's own training: 5, 10, ... 100."""

    none = "none"
    median = "median"
    percentile = "percentile"
    successive_halving = "successive_halving"
    hyperband = "hyperband"
    wilcoxon = "wilcoxon"
    patience = "patience"


WORKERS = Rule(
    lambda value: value == "auto" or (type(value) is int and value >= 1),
    "auto, or a whole number, 1 or more",
    allows_null=False,
)


@dataclass
class ConfirmConfig:
    """Confirmation trains the best trials again with new seeds after the search; the best mean wins."""

    top_k: int = ruled(0, WHOLE)  # how many trials are confirmed; 0: none, and the best single value wins
    seeds: int = ruled(5, COUNT)  # new seeds for each of the `top_k`


@dataclass
class StudyConfig:
    name: str | None = ruled(None, NAME)  # null: the sweep's name, plus data= and model= of the command line
    storage: str = "sqlite:///mlruns/optuna.db"
    # seconds for which workers wait while the storage is locked or away; then they hand their trials back
    patience_s: float = ruled(600.0, NOT_NEGATIVE)
    # The search's budgets count over the study's whole life. The first that is used up ends the search;
    # trials that are running then still finish.
    n_trials: int = ruled(20, COUNT)  # finished trials: complete or pruned
    timeout_s: float | None = ruled(None, POSITIVE)  # counts only time in which a trial was running
    max_train_steps: int | None = ruled(None, COUNT)  # optimizer steps of all trials together
    sampler: Sampler = Sampler.tpe
    sampler_options: dict[str, Any] = field(default_factory=dict)  # keyword arguments for Optuna's sampler
    pruner: Pruner = Pruner.none
    pruner_options: dict[str, Any] = field(default_factory=dict)  # keyword arguments for Optuna's pruner
    # metric: direction, for two or more objectives; empty: data.metric is the only one
    objectives: dict[str, Direction] = field(default_factory=dict)
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    seed: int = ruled(0, NOT_NEGATIVE)
    repeat_trials: bool = False  # true: train a known point again; false: reuse its value
    max_failures: int = ruled(10, COUNT)  # so many failed trials, over the study's life, end the sweep
    max_retries: int = ruled(2, WHOLE)  # retries of a trial whose worker died
    # when a GPU runs out of memory: retry the trial once, with half the batch and twice the accumulation
    retry_oom: bool = True
    trial_timeout_s: float | None = ruled(None, POSITIVE)  # a trial that runs longer fails


@dataclass
class Branch:
    """Search dimensions that exist only when the keys in `when` have the given values."""

    when: dict[str, Any] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


@dataclass
class SweepConfig:
    """The complete config of a sweep."""

    _target_: str = "hydra_plugins.finesweep.sweeper.FinesweepSweeper"
    study: StudyConfig = field(default_factory=StudyConfig)
    params: dict[str, str] = field(default_factory=dict)  # config key: its range, in Hydra's sweep grammar
    conditional: list[Branch] = field(default_factory=list)
    enqueue: list[dict[str, Any]] = field(default_factory=list)  # points to try first
    workers: Any = ruled("auto", WORKERS)  # auto: as many as the CPU cores, memory or GPUs allow; or a number
    workers_per_gpu: int = ruled(1, COUNT)
    keep_checkpoints: int = ruled(3, COUNT)  # how many of the best trials keep their weights


def check_sweep(config: SweepConfig) -> None:
    """Checks every key that has a rule, and what several objectives exclude. Raises: ConfigError."""
    check_rules(config, "hydra.sweeper.")
    check_objectives(config.study)


# Objectives that come from the training's duration; all others are metrics of an evaluation.
THROUGHPUT = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_tokens_per_second",
)


def check_objectives(study: StudyConfig) -> None:
    """Checks `study.objectives`. With several, pruning and confirmation are illegal. Raises: ConfigError."""
    if not study.objectives:
        return
    if len(study.objectives) == 1:
        raise ConfigError.at(
            "hydra.sweeper.study.objectives",
            list(study.objectives),
            "two or more; set a single objective with data.metric",
        )
    if study.pruner is not Pruner.none:
        raise ConfigError.at(
            "hydra.sweeper.study.pruner", study.pruner.value,
            "none with several objectives: Optuna's pruners compare trials by a single value",
        )  # fmt: skip
    if study.confirm.top_k:
        raise ConfigError.at(
            "hydra.sweeper.study.confirm.top_k", study.confirm.top_k,
            "0 with several objectives: there is no single mean to choose the winner by",
        )  # fmt: skip
