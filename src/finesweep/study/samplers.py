"""Samplers and pruners by name; a resumed study never draws the same points again."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from finesweep.config.own import import_own
from finesweep.config.study import Pruner, StudyConfig
from finesweep.errors import ConfigError, FinesweepError
from finesweep.study.rungs import OPTIONS, Rungs
from finesweep.study.space import Space, suggest
from finesweep.study.spread import SpreadTPE

SAMPLER_KEY = "hydra.sweeper.study.sampler"


@dataclass(frozen=True)
class SamplerEntry:
    """One of Optuna's samplers, with everything that the rest of the code must know about it."""

    make: Callable[[], type[BaseSampler]]  # called late: `optuna.samplers` loads some classes when first used
    enqueues_all_points: bool = False  # whether the whole space is enqueued, and the sampler draws nothing
    several_objectives: bool = True  # whether it can optimize more than one
    # Whether workers may draw at once: a point that another one is drawing at this moment does not count.
    # Others draw under the study's lock.
    draws_alone: bool = False
    # Whether it learns where trials pause. CMA-ES does not: it wants whole generations of complete trials,
    # and keeps its distribution in the newest: one that goes on from an earlier one would put it back. Nor
    # does GP: it reads complete trials alone, and draws at random while they are few.
    may_pause: bool = True
    seed_per_suggestion: bool = True  # False: it counts its position in the storage, and workers share a seed
    conditional_options: dict[str, Any] = field(default_factory=dict)  # for spaces with conditions


SAMPLERS = {
    "tpe": SamplerEntry(
        lambda: optuna.samplers.TPESampler,
        draws_alone=True,
        # Without them, it would draw conditional dimensions at random.
        conditional_options={"group": True, "multivariate": True},
    ),
    "random": SamplerEntry(lambda: optuna.samplers.RandomSampler, draws_alone=True),
    "grid": SamplerEntry(lambda: optuna.samplers.RandomSampler, enqueues_all_points=True, draws_alone=True),
    "gp": SamplerEntry(lambda: optuna.samplers.GPSampler, may_pause=False),
    "cmaes": SamplerEntry(lambda: optuna.samplers.CmaEsSampler, several_objectives=False, may_pause=False),
    "qmc": SamplerEntry(lambda: optuna.samplers.QMCSampler, seed_per_suggestion=False),
}


def sampler_entry(name: str) -> SamplerEntry:
    """Returns the entry of a sampler: one of Optuna's by name, or a person's own as `module:class`."""
    if name in SAMPLERS:
        return SAMPLERS[name]
    return SamplerEntry(lambda: _own_sampler(name))  # imported only where it suggests


def _own_sampler(name: str) -> type[BaseSampler]:
    """Raises: ConfigError if it cannot be imported, or is no sampler."""
    found = import_own(SAMPLER_KEY, name)
    if not isinstance(found, type) or not issubclass(found, BaseSampler):
        raise ConfigError.at(SAMPLER_KEY, name, "a class that inherits from optuna.samplers.BaseSampler")
    return found


@dataclass(frozen=True)
class PrunerEntry:
    """One of Optuna's pruners, with the options that finesweep sets otherwise than Optuna."""

    make: Callable[..., BasePruner]
    defaults: dict[str, Any] = field(default_factory=dict)


def _patient(
    wrapped_pruner: str | None = "median", patience: int = 5, min_delta: float = 0.0, **options: Any
) -> BasePruner:
    """Leaves a trial that no longer improves to another pruner, by name and options; null: it is pruned."""
    wrapped = None
    if wrapped_pruner is not None:
        entry = PRUNERS[Pruner(wrapped_pruner)]
        wrapped = entry.make(**(entry.defaults | options))
    return optuna.pruners.PatientPruner(wrapped, patience, min_delta)


def _pause(**options: Any) -> BasePruner:
    """Returns a pruner that stops nothing: `rungs` decides who pauses, and checks the options here.

    Raises: ValueError.
    """
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise ValueError(f"no option {unknown[0]!r}; there: {', '.join(OPTIONS)}")
    Rungs(maximize=True, **options)
    return optuna.pruners.NopPruner()


# Steps are per cent of a trial's own training: max_resource is 100, and the first rung is at a tenth of it.
PRUNERS = {
    Pruner.none: PrunerEntry(optuna.pruners.NopPruner),
    Pruner.median: PrunerEntry(optuna.pruners.MedianPruner),
    Pruner.percentile: PrunerEntry(optuna.pruners.PercentilePruner, {"percentile": 25.0}),
    Pruner.successive_halving: PrunerEntry(
        optuna.pruners.SuccessiveHalvingPruner, {"min_resource": 10, "reduction_factor": 3}
    ),
    Pruner.hyperband: PrunerEntry(
        optuna.pruners.HyperbandPruner, {"min_resource": 10, "max_resource": 100, "reduction_factor": 3}
    ),
    Pruner.wilcoxon: PrunerEntry(optuna.pruners.WilcoxonPruner),
    Pruner.patience: PrunerEntry(_patient),
    Pruner.pause: PrunerEntry(_pause),
}  # fmt: skip


def draws_alone(config: StudyConfig) -> bool:
    """Tells whether a suggestion is drawn without the study's lock."""
    return sampler_entry(config.sampler).draws_alone


def make_sampler(
    config: StudyConfig, ordinal: int, space: Space = (), hashed_seeds: bool = True, spread: int | None = None
) -> BaseSampler:
    """Makes the sampler of the study's `ordinal`-th suggestion, counted from 0.

    hashed_seeds: False for a study from before they were hashed, which goes on as it began. spread: which
    of the points of `study/spread.py` it is while TPE knows too little; None in a study from before them.

    Raises: ConfigError for options that Optuna's class does not take.
    """
    entry = sampler_entry(config.sampler)
    seed = _seed(config.seed, ordinal, hashed_seeds) if entry.seed_per_suggestion else config.seed
    if "seed" in config.sampler_options:
        raise ConfigError("hydra.sweeper.study.sampler_options: seed is set by hydra.sweeper.study.seed")
    options: dict[str, Any] = {"seed": seed}
    if any(dimension.when for dimension in space):
        options |= entry.conditional_options
    make: Callable[..., BaseSampler] = entry.make()
    if make is optuna.samplers.TPESampler and spread is not None:
        make = partial(SpreadTPE, space, config.seed, spread)
    made: BaseSampler = _made("sampler", config.sampler, make, options, config.sampler_options)
    return made


def _seed(study_seed: int, ordinal: int, hashed: bool) -> int:
    """Returns the seed of one suggestion. It is hashed: the first draws of seeds 0, 1, 2, ... lie close."""
    if not hashed:
        return (study_seed * 1_000_003 + ordinal) % 2**32
    return int.from_bytes(sha256(f"{study_seed} {ordinal}".encode()).digest()[:4])


def make_pruner(config: StudyConfig) -> BasePruner:
    """Raises: ConfigError for options that Optuna's class does not take."""
    entry = PRUNERS[config.pruner]
    name, given = config.pruner.value, config.pruner_options
    pruner: BasePruner = _made("pruner", name, entry.make, entry.defaults, given)
    return pruner


def try_out(config: StudyConfig, space: Space) -> None:
    """Suggests and prunes once, in memory.

    Raises: ConfigError for a sampler that cannot do several objectives, or learns nothing from paused trials,
    and for options that Optuna refuses only when it uses them.
    """
    _refuse_sampler(config)
    study = optuna.create_study(sampler=make_sampler(config, 0, space), pruner=make_pruner(config))
    trial = study.ask()
    try:
        suggest(trial, space)
        trial.report(0.5, 100)
        trial.should_prune()
    except FinesweepError:
        raise
    except Exception as error:  # a person's own sampler may raise anything
        options = {"sampler_options": config.sampler_options, "pruner_options": config.pruner_options}
        raise ConfigError(
            f"hydra.sweeper.study: {options}: {_told(error)}; legal: what the {config.sampler} "
            f"sampler and the {config.pruner.value} pruner take"
        ) from error


def _refuse_sampler(config: StudyConfig) -> None:
    """Raises: ConfigError for a sampler that cannot do what else the study asks for."""
    entry = sampler_entry(config.sampler)
    if len(config.objectives) > 1 and not entry.several_objectives:
        legal = ", ".join(name for name, entry in SAMPLERS.items() if entry.several_objectives)
        raise ConfigError.at(SAMPLER_KEY, config.sampler, f"{legal} with several objectives")
    if config.pruner is Pruner.pause and not entry.may_pause:
        legal = ", ".join(name for name, entry in SAMPLERS.items() if entry.may_pause)
        raise ConfigError.at(SAMPLER_KEY, config.sampler, f"{legal} with hydra.sweeper.study.pruner=pause")


def _made(
    kind: str, name: str, function: Callable[..., Any], own: dict[str, Any], given: dict[str, Any]
) -> Any:
    try:
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):  # chosen by name
            return function(**(own | given))
    except Exception as error:  # a person's own sampler may raise anything
        raise ConfigError(
            f"hydra.sweeper.study.{kind}_options: {given}: {_told(error)}; legal: the keyword arguments of "
            f"the {name} {kind}"
        ) from error


def _told(error: Exception) -> str:
    """Names the type of an error that says little by itself, such as KeyError('x')."""
    plain = isinstance(error, (TypeError, ValueError, ArithmeticError))
    return str(error) if plain else f"{type(error).__name__}: {error}"
