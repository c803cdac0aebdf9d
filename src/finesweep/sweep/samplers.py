"""Optuna's samplers by name, seeded so that a resumed study never draws the same points again."""

from collections.abc import Callable
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from finesweep.errors import ConfigError
from finesweep.sweep.config import Sampler, StudyConfig

# `grid` only asks for what was enqueued; see `study.create`.
CLASSES: dict[Sampler, Callable[..., BaseSampler]] = {
    Sampler.tpe: lambda **options: optuna.samplers.TPESampler(**options),
    Sampler.random: lambda **options: optuna.samplers.RandomSampler(**options),
    Sampler.grid: lambda **options: optuna.samplers.RandomSampler(**options),
    Sampler.gp: lambda **options: optuna.samplers.GPSampler(**options),
    Sampler.cmaes: lambda **options: optuna.samplers.CmaEsSampler(**options),
    Sampler.qmc: lambda **options: optuna.samplers.QMCSampler(**options),
}


def make_sampler(config: StudyConfig, ordinal: int) -> BaseSampler:
    """The sampler for the study's `ordinal`-th suggestion, counted from 0; retries keep their first one's.

    Raises: ConfigError for options that Optuna's class does not take.
    """
    # A quasi-random sequence is one: its workers share the seed, and Optuna counts the position.
    seed = config.seed if config.sampler is Sampler.qmc else (config.seed * 1_000_003 + ordinal) % 2**32
    if "seed" in config.sampler_options:
        raise ConfigError("hydra.sweeper.study.sampler_options: seed is set by hydra.sweeper.study.seed")
    options: dict[str, Any] = {"seed": seed} | config.sampler_options
    try:
        return CLASSES[config.sampler](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"hydra.sweeper.study.sampler_options: {config.sampler_options}: {error}; legal: the keyword "
            f"arguments of Optuna's {config.sampler.value} sampler"
        ) from error
