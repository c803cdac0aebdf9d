"""The config of a sweep: the node `hydra.sweeper`, usually filled in by a file under `sweeps/`."""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from finesweep.config.own import OWN
from finesweep.config.rules import (
    COUNT,
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    WHOLE,
    Rule,
    check_rules,
    explained,
    filled_in,
    ruled,
)
from finesweep.config.run import Direction
from finesweep.errors import ConfigError

PROCESSES = "trainer.num_processes"  # the same for all trials of a study: a worker's place fits it
# Optuna's samplers by name. `grid` tries every point once.
SAMPLERS = ("tpe", "random", "grid", "gp", "cmaes", "qmc")
SAMPLER = Rule(
    lambda name: name in SAMPLERS or OWN.fullmatch(name),
    f"{', '.join(SAMPLERS)}, or module:class for one of your own",
)

# Studies to start from.
EARLIER = re.compile(r"(sqlite:///.+::)?[A-Za-z0-9][\w.-]{0,63}")
SOURCES = Rule(
    lambda names: all(map(EARLIER.fullmatch, names)),
    "[STUDY, ...]: names of studies in this storage, or sqlite:///FILE::STUDY of another one",
)


class Pruner(Enum):
    """Optuna's pruners by name, and `pause`, which stops no trial for good before the end of the search.

    They count steps in per cent of a trial's own training: 5, 10, ... 100.
    """

    none = "none"
    median = "median"
    percentile = "percentile"
    successive_halving = "successive_halving"
    hyperband = "hyperband"
    wilcoxon = "wilcoxon"
    patience = "patience"
    pause = "pause"


class StopWhen(Enum):
    """What ends a search before its budgets do."""

    none = "none"
    noise = "noise"  # the gain that the rest of the budget promises is below the noise of the best score


class Ensemble(Enum):
    """How the kept checkpoints of one architecture may predict together."""

    none = "none"
    soup = "soup"  # by the mean of their weights
    mean = "mean"  # by the mean of their probabilities


WORKERS = Rule(
    lambda value: value == "auto" or (type(value) is int and value >= 1),
    "auto, or a whole number, 1 or more",
    allows_null=False,
)


@dataclass
class ConfirmConfig:
    """Confirmation trains the best trials again with new seeds after the search; the best mean wins."""

    top_k: int = ruled(0, WHOLE, "how many trials are confirmed; 0: none, and the best single value wins")
    seeds: int = ruled(5, COUNT, "new seeds for each of the `top_k`")


@dataclass
class StudyConfig:
    name: str | None = ruled(None, NAME, "null: the sweep's name, plus data= and model= of the command line")
    storage: str = ruled(
        "sqlite:///mlruns/optuna.db",
        filled_in("sqlite:///FILE, or postgresql://USER@HOST/DATABASE"),
        "Optuna's database: SQLite or PostgreSQL",
    )
    patience_s: float = ruled(
        600.0, NOT_NEGATIVE,
        "seconds for which workers wait for a storage that is away; then they hand their trials back",
    )  # fmt: skip
    # The first budget that is used up ends the search; trials that are running then still finish.
    n_trials: int = ruled(
        20, COUNT, "budget: finished trials (complete, pruned or paused) over the study's whole life"
    )
    timeout_s: float | None = ruled(None, POSITIVE, "budget: seconds in which a trial was running")
    max_train_steps: int | None = ruled(None, COUNT, "budget: optimizer steps of all trials together")
    stop_when: StopWhen = explained(
        StopWhen.none, "noise: end when the expected gain of the budget's rest is below the rows' noise"
    )
    sampler: str = ruled("tpe", SAMPLER, "how points are chosen; grid tries every point once")
    sampler_options: dict[str, Any] = explained({}, "keyword arguments of the sampler, but for seed")
    start_from: list[str] = ruled(
        [], SOURCES,
        "earlier studies, also of other data or models: the best points that they found are tried first; "
        "STUDY, or sqlite:///FILE::STUDY",
    )  # fmt: skip
    edit: bool = explained(
        False,
        "true: where ranges have changed, the study goes on with the trials that still lie in them; "
        "false: refused",
    )
    pruner: Pruner = explained(
        Pruner.none,
        "which trials are stopped early; steps are per cent of a trial's own training; pause: they may go on",
    )
    pruner_options: dict[str, Any] = explained({}, "keyword arguments of the pruner")
    objectives: dict[str, Direction] = explained(
        {}, "metric: direction, for two or more objectives; empty: data.metric is the only one"
    )
    ensemble: Ensemble = explained(
        Ensemble.none, "submit the kept checkpoints together, if rows that chose nothing say it is better"
    )
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    seed: int = ruled(0, NOT_NEGATIVE, "of the sampler")
    repeat_trials: bool = explained(False, "true: train a known point again; false: reuse its value")
    max_failures: int = ruled(10, COUNT, "so many failed trials, over the study's life, end the sweep")
    max_retries: int = ruled(2, WHOLE, "retries of a trial whose worker died")
    retry_oom: bool = explained(
        True,
        "when a GPU runs out of memory: retry the trial once, with half the batch and twice the accumulation",
    )
    trial_timeout_s: float | None = ruled(None, POSITIVE, "a trial that runs longer fails; in seconds")


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
    params: dict[str, str] = explained(
        {}, "the search space: config key: its range, in Hydra's sweep grammar"
    )
    conditional: list[Branch] = explained(
        [], "dimensions (`params`) that exist only where other keys have the values that `when` gives"
    )
    enqueue: list[dict[str, Any]] = explained([], "points to try first")
    workers: Any = ruled("auto", WORKERS, "auto: as many as the CPU cores, memory or GPUs allow")
    workers_per_gpu: int = ruled(1, COUNT, "workers that share a GPU")
    gpus_per_trial: int | None = ruled(
        None, COUNT, "GPUs of each trial, which its processes train on together; null: trainer.num_processes"
    )
    keep_checkpoints: int = ruled(3, COUNT, "how many of the best trials keep their weights")


def check_sweep(config: SweepConfig) -> None:
    """Checks every key that has a rule, and what several objectives exclude. Raises: ConfigError."""
    check_rules(config, "hydra.sweeper.")
    check_sharing(config, config.gpus_per_trial or 1)
    check_objectives(config.study)
    check_stopping(config.study)
    check_ensemble(config.study)


def check_sharing(config: SweepConfig, gpus_per_trial: int) -> None:
    """Raises: ConfigError if trials of several GPUs would share them."""
    if gpus_per_trial > 1 and config.workers_per_gpu > 1:
        raise ConfigError.at(
            "hydra.sweeper.workers_per_gpu", config.workers_per_gpu,
            f"1 with {gpus_per_trial} GPUs for each trial, which are that trial's alone",
        )  # fmt: skip


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
            "none with several objectives: pruners compare trials by a single value",
        )  # fmt: skip
    if study.confirm.top_k:
        raise ConfigError.at(
            "hydra.sweeper.study.confirm.top_k", study.confirm.top_k,
            "0 with several objectives: there is no single mean to choose the winner by",
        )  # fmt: skip


def check_stopping(study: StudyConfig) -> None:
    """Raises: ConfigError for `study.stop_when` where there is no single score, or each point is wanted."""
    if study.stop_when is StopWhen.none:
        return
    key, value = "hydra.sweeper.study.stop_when", study.stop_when.value
    if study.objectives:
        raise ConfigError.at(key, value, "none with several objectives: there is no single score")
    if study.sampler == "grid":
        raise ConfigError.at(key, value, "none with sampler=grid, which tries every point")


def check_ensemble(study: StudyConfig) -> None:
    """Raises: ConfigError for `study.ensemble` with several objectives."""
    if study.ensemble is not Ensemble.none and study.objectives:
        raise ConfigError.at(
            "hydra.sweeper.study.ensemble", study.ensemble.value,
            "none with several objectives: there is no single score to compare by",
        )  # fmt: skip
