"""Optuna's samplers and pruners by name; a resumed study never draws the same points again."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from finesweep.config.study import Pruner, Sampler, StudyConfig
from finesweep.errors import ConfigError
from finesweep.study.space import Space, suggest

# `grid` only asks for what was enqueued; see `study.create`.
SAMPLERS: dict[Sampler, Callable[..., BaseSampler]] = {
    Sampler.tpe: lambda **options: optuna.samplers.TPESampler(**options),
    Sampler.random: lambda **options: optuna.samplers.RandomSampler(**options),
    Sampler.grid: lambda **options: optuna.samplers.RandomSampler(**options),
    Sampler.gp: lambda **options: optuna.samplers.GPSampler(**options),
    Sampler.cmaes: lambda **options: optuna.samplers.CmaEsSampler(**options),
    Sampler.qmc: lambda **options: optuna.samplers.QMCSampler(**options),
}


def _patient(
    wrapped_pruner: str | None = "median", patience: int = 5, min_delta: float = 0.0, **options: Any
) -> BasePruner:
    """Once a trial no longer improves, another pruner decides: its name and options; null: it is pruned."""
    wrapped = None
    if wrapped_pruner is not None:
        function, own = PRUNERS[Pruner(wrapped_pruner)]
        wrapped = function(**(own | options))
    return optuna.pruners.PatientPruner(wrapped, patience, min_delta)


# Steps are per cent of a trial's own training: max_resource is 100, and the first rung is at a tenth of it.
PRUNERS: dict[Pruner, tuple[Callable[..., BasePruner], dict[str, Any]]] = {
    Pruner.none: (optuna.pruners.NopPruner, {}),
    Pruner.median: (optuna.pruners.MedianPruner, {}),
    Pruner.percentile: (optuna.pruners.PercentilePruner, {"percentile": 25.0}),
    Pruner.successive_halving: (
        optuna.pruners.SuccessiveHalvingPruner, {"min_resource": 10, "reduction_factor": 3}
    ),
    Pruner.hyperband: (
        optuna.pruners.HyperbandPruner, {"min_resource": 10, "max_resource": 100, "reduction_factor": 3}
    ),
    Pruner.wilcoxon: (optuna.pruners.WilcoxonPruner, {}),
    Pruner.patience: (_patient, {}),
}  # fmt: skip


def make_sampler(config: StudyConfig, ordinal: int, space: Space = ()) -> BaseSampler:
    """The sampler for the study's `ordinal`-th suggestion, counted from 0; retries keep their first one's.

    Raises: ConfigError for options that Optuna's class does not take.
    """
    # A quasi-random sequence is one: its workers share the seed, and Optuna counts the position.
    seed = config.seed if config.sampler is Sampler.qmc else (config.seed * 1_000_003 + ordinal) % 2**32
    if "seed" in config.sampler_options:
        raise ConfigError("hydra.sweeper.study.sampler_options: seed is set by hydra.sweeper.study.seed")
    options: dict[str, Any] = {"seed": seed}
    if config.sampler is Sampler.tpe and any(dimension.when for dimension in space):
        options |= {"group": True, "multivariate": True}  # else conditional ones would be drawn at random
    made = _made("sampler", config.sampler.value, SAMPLERS[config.sampler], options, config.sampler_options)
    assert isinstance(made, BaseSampler)
    return made


def make_pruner(config: StudyConfig) -> BasePruner:
    """Raises: ConfigError for options that Optuna's class does not take."""
    function, options = PRUNERS[config.pruner]
    pruner: BasePruner = _made("pruner", config.pruner.value, function, options, config.pruner_options)
    return pruner


def try_out(config: StudyConfig, space: Space) -> None:
    """Raises: ConfigError for options that Optuna finds fault with only when it uses them."""
    study = optuna.create_study(sampler=make_sampler(config, 0, space), pruner=make_pruner(config))
    trial = study.ask()
    try:
        suggest(trial, space)
        trial.report(0.5, 100)
        trial.should_prune()
    except (TypeError, ValueError, ArithmeticError) as error:
        options = {"sampler_options": config.sampler_options, "pruner_options": config.pruner_options}
        raise ConfigError(
            f"hydra.sweeper.study: {options}: {error}; legal: what Optuna's {config.sampler.value} "
            f"sampler and {config.pruner.value} pruner take"
        ) from error


def _made(
    kind: str, name: str, function: Callable[..., Any], own: dict[str, Any], given: dict[str, Any]
) -> Any:
    try:
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):  # chosen by name
            return function(**(own | given))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"hydra.sweeper.study.{kind}_options: {given}: {error}; legal: the keyword arguments of "
            f"Optuna's {name} {kind}"
        ) from error
