"""Reads a search space from a sweep's file and the command line, and checks both ends of each dimension."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from finesweep.config.parse import parse_config
from finesweep.config.study import Branch, SweepConfig
from finesweep.errors import ConfigError
from finesweep.study.grammar import choices, distribution, ends
from finesweep.study.space import Dimension, Space
from finesweep.training.preflight import check_model

GRAMMAR = "interval(a, b), tag(log, interval(a, b)), range(a, b), choice(a, b, ...)"


@dataclass
class Dimensions:
    """Reads the space of one sweep."""

    loader: ConfigLoader
    base: DictConfig  # what all trials share, composed
    fixed: list[str]  # the overrides that it was composed from
    compose: Callable[[list[str]], DictConfig]

    def read(self, config: SweepConfig, given: list[Override]) -> Space:
        """Reads the space. The command line wins: a key that it names is no dimension of the sweep's file.

        Raises: ConfigError for what cannot be searched.
        """
        self.named = {override.key_or_group for override in given}
        space: list[Dimension] = [
            *self._from_file("params", config.params, {}),
            *(self._dimension(override, {}) for override in given if override.is_sweep_override()),
        ]
        for index, branch in enumerate(config.conditional):
            when = self._condition(f"conditional[{index}].when", branch, space)
            if when is not None:
                space += self._from_file(f"conditional[{index}].params", branch.params, when)
        if not space:
            raise ConfigError(
                "nothing to search: give a key a range, e.g. optimizer.learning_rate='interval(1e-5,1e-3)'"
            )
        _check_apart(space)
        return tuple(space)

    def _from_file(self, where: str, params: dict[str, str], when: dict[str, Any]) -> Iterator[Dimension]:
        parser = OverridesParser.create(config_loader=self.loader)
        for key, text in params.items():
            if key in self.named:
                continue
            try:
                (override,) = parser.parse_overrides([f"{key}={text}"])
            except HydraException as error:
                raise ConfigError.at(f"hydra.sweeper.{where}.{key}", text, GRAMMAR) from error
            yield self._dimension(override, when)

    def _dimension(self, override: Override, when: dict[str, Any]) -> Dimension:
        key = override.key_or_group
        is_group = key in self.base.hydra.runtime.choices
        value = None if is_group else OmegaConf.select(self.base, key)
        found = distribution(override, whole=isinstance(value, int) and not isinstance(value, bool))
        for end in ends(found):
            self._check_value(key, end, is_group)
        suffix = "".join(f"|{name}={value}" for name, value in when.items())
        return Dimension(key + suffix, key, found, when)

    def _check_value(self, key: str, value: Any, is_group: bool) -> None:
        """Raises what a trial with this value would raise."""
        if is_group:
            check_model(parse_config(self.compose([*self.fixed, f"{key}={value}"])).model)
            return
        config = copy.deepcopy(self.base)
        OmegaConf.update(config, key, value, force_add=False)
        parse_config(config)

    def _condition(self, where: str, branch: Branch, space: list[Dimension]) -> dict[str, Any] | None:
        """Gives the part of `when` that a trial decides; None if a shared value rules it out."""
        if not branch.when:
            raise ConfigError.at(f"hydra.sweeper.{where}", {}, "one key or more, each with a value")
        left = {}
        for key, value in branch.when.items():
            dimensions = [dimension for dimension in space if dimension.key == key]
            if dimensions:
                self._check_choice(f"hydra.sweeper.{where}.{key}", value, dimensions)
                left[key] = value
            elif self._shared(f"hydra.sweeper.{where}.{key}", key) != value:
                return None
        return left

    @staticmethod
    def _check_choice(where: str, value: Any, dimensions: list[Dimension]) -> None:
        legal = [choice for dimension in dimensions for choice in choices(dimension.distribution)]
        if not legal:
            raise ConfigError.at(where, value, "a key that is searched with choice(...)")
        if value not in legal:
            raise ConfigError.at(where, value, ", ".join(map(str, legal)))

    def _shared(self, where: str, key: str) -> Any:
        """Gives the value that all trials share; of a config group, its option."""
        options = self.base.hydra.runtime.choices
        if key in options:
            return options[key]
        config = OmegaConf.select(self.base, key, default=self)  # which is no value of a config
        if config is self:
            raise ConfigError(f"{where}: no such key; legal: a key of the run's config, searched or not")
        return getattr(config, "value", config)


def _check_apart(space: list[Dimension]) -> None:
    """Raises: ConfigError where two dimensions of one key could exist together."""
    for index, one in enumerate(space):
        for other in space[:index]:
            apart = any(key in other.when and other.when[key] != value for key, value in one.when.items())
            if one.key == other.key and not apart:
                raise ConfigError(
                    f"hydra.sweeper.conditional: {one.key} has two ranges at once: {other}; {one}; "
                    "legal: one, or several whose `when` exclude each other"
                )
