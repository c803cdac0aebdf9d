"""What a sweep is, as dataclasses: the node `hydra.sweeper`, usually filled by a file under `sweeps/`."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from finesweep.config.rules import COUNT, NAME, NOT_NEGATIVE, POSITIVE, WHOLE, Rule, check_rules, ruled
from finesweep.config.run import Direction
from finesweep.errors import ConfigError


class Sampler(Enum):
    """Optuna's samplers by name; grid tries every point once."""

    tpe = "tpe"
    random = "random"
    grid = "grid"
    gp = "gp"
    cmaes = "cmaes"
    qmc = "qmc"


class Pruner(Enum):
    """Optuna's pruners by name. Their steps are per cent of a trial's own training: 5, 10, ... 100."""

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
    """After the search: the best `top_k` again with `seeds` new seeds each; the best mean wins."""

    top_k: int = ruled(0, WHOLE)  # 0: the best single trial wins
    seeds: int = ruled(5, COUNT)


@dataclass
class StudyConfig:
    name: str | None = ruled(None, NAME)  # null: the sweep's name, with data= and model= of the command line
    storage: str = "sqlite:///mlruns/optuna.db"
    # Budgets of the search, over the study's whole life; whichever is used up first ends it.
    n_trials: int = ruled(20, COUNT)  # finished trials: complete or pruned
    timeout_s: float | None = ruled(
        None, POSITIVE
    )  # seconds in which trials ran; running ones go on to their end
    max_train_steps: int | None = ruled(None, COUNT)  # optimizer steps of all trials together; likewise
    sampler: Sampler = Sampler.tpe
    sampler_options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of Optuna's class
    pruner: Pruner = Pruner.none
    pruner_options: dict[str, Any] = field(default_factory=dict)  # likewise
    objectives: dict[str, Direction] = field(default_factory=dict)  # two or more; empty: data.metric
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    seed: int = ruled(0, NOT_NEGATIVE)
    repeat_trials: bool = False  # train a point again that was evaluated before, instead of reusing its value
    max_failures: int = ruled(10, COUNT)  # failed trials over the study's life that end the sweep
    max_retries: int = ruled(2, WHOLE)  # of a trial whose worker died
    retry_oom: bool = (
        True  # once, with half the batch and twice the accumulation, when a GPU's memory ran out
    )
    trial_timeout_s: float | None = ruled(None, POSITIVE)  # a trial that runs longer fails


@dataclass
class Branch:
    """Dimensions that exist only where other keys have these values."""

    when: dict[str, Any] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


@dataclass
class SweepConfig:
    _target_: str = "hydra_plugins.finesweep.sweeper.FinesweepSweeper"
    study: StudyConfig = field(default_factory=StudyConfig)
    params: dict[str, str] = field(default_factory=dict)  # key: text in Hydra's sweep grammar
    conditional: list[Branch] = field(default_factory=list)
    enqueue: list[dict[str, Any]] = field(default_factory=list)  # points to try first
    workers: Any = ruled("auto", WORKERS)  # auto, or how many
    workers_per_gpu: int = ruled(1, COUNT)
    keep_checkpoints: int = ruled(3, COUNT)  # of the best trials, as artifacts; the others' weights go


def check_sweep(config: SweepConfig) -> None:
    """Checks every key that has a rule, and what several objectives ask for. Raises: ConfigError."""
    check_rules(config, "hydra.sweeper.")
    check_objectives(config.study)


# What can be minimized or maximized beside the metrics of an evaluation.
THROUGHPUT = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_tokens_per_second",
)


def check_objectives(study: StudyConfig) -> None:
    """Raises: ConfigError for what one winner needs, where there are several objectives."""
    if not study.objectives:
        return
    if len(study.objectives) == 1:
        raise ConfigError.at(
            "hydra.sweeper.study.objectives",
            list(study.objectives),
            "two or more; a single one is data.metric",
        )
    if study.pruner is not Pruner.none:
        raise ConfigError.at(
            "hydra.sweeper.study.pruner", study.pruner.value,
            "none with several objectives: half-way, Optuna compares trials by one value only",
        )  # fmt: skip
    if study.confirm.top_k:
        raise ConfigError.at(
            "hydra.sweeper.study.confirm.top_k", study.confirm.top_k,
            "0 with several objectives: there is no one mean to choose by",
        )  # fmt: skip
