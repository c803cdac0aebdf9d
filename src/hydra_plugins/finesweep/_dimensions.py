"""Reads a search space from a sweep's file and the command line, and checks both ends of each dimension."""

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from finesweep.config.parse import parse_config, type_of
from finesweep.config.run import RunConfig
from finesweep.config.study import Branch, SweepConfig
from finesweep.errors import ConfigError
from finesweep.study.encode import encode_stored, stored
from finesweep.study.grammar import choices, distribution, ends
from finesweep.study.space import Dimension, Space

GRAMMAR = "interval(a, b), tag(log, interval(a, b)), range(a, b), choice(a, b, ...); with null: null, a, b"


@dataclass
class Dimensions:
    """Reads the space of one sweep."""

    loader: ConfigLoader
    base: DictConfig  # what all trials share, composed
    fixed: list[str]  # the overrides that it was composed from
    compose: Callable[[list[str]], DictConfig]

    def read(self, config: SweepConfig, searched: list[Override], named: Collection[str]) -> Space:
        """Reads the space. The command line wins: a key that it names is no dimension of the sweep's file.

        searched: the sweeps of the command line. named: its keys, searched or not.
        Raises: ConfigError for what cannot be searched.
        """
        self.named = named
        space: list[Dimension] = [
            *self._from_file("params", config.params, {}),
            *(self._dimension(override, {}) for override in searched),
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
        for key, text in params.items():
            if key in self.named:
                continue
            try:
                (override,) = self._parse([f"{key}={text}"])
            except HydraException as error:
                raise ConfigError.at(f"hydra.sweeper.{where}.{key}", text, GRAMMAR) from error
            yield self._dimension(override, when)

    def _parse(self, texts: list[str]) -> list[Override]:
        return OverridesParser.create(config_loader=self.loader).parse_overrides(texts)

    def _dimension(self, override: Override, when: dict[str, Any]) -> Dimension:
        key = override.key_or_group
        suffix = "".join(f"|{name}={value}" for name, value in when.items())
        dimension = Dimension(
            key + suffix, key, distribution(override, type_of(key)), when, override.get_key_element()
        )
        conditions = [f"{name}={encode_stored(value)}" for name, value in when.items()]
        for end in ends(dimension.distribution):
            self._compose_trial([*conditions, dimension.override(end)])
        return dimension

    def _compose_trial(self, overrides: list[str]) -> RunConfig:
        """Composes the config of a trial with these overrides. Raises what the trial would raise."""
        parsed = self._parse(overrides)
        if any(self._is_group(override) for override in parsed):
            return parse_config(self.compose([*self.fixed, *overrides]))
        config = copy.deepcopy(self.base)  # a tenth of the time of composing it again
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
        return parse_config(config)

    def _is_group(self, override: Override) -> bool:
        return override.package is not None or override.key_or_group in self.base.hydra.runtime.choices

    def _condition(self, where: str, branch: Branch, space: list[Dimension]) -> dict[str, Any] | None:
        """Gives the part of `when` that a trial decides; None if a shared value rules it out."""
        if not branch.when:
            raise ConfigError.at(f"hydra.sweeper.{where}", {}, "one key or more, each with a value")
        left = {}
        for key, value in branch.when.items():
            dimensions = [dimension for dimension in space if dimension.key == key]
            if dimensions:
                self._check_choice(f"hydra.sweeper.{where}.{key}", stored(value), dimensions)
                left[key] = stored(value)
            elif self.shared(key, f"hydra.sweeper.{where}.{key}") != value:
                return None
        return left

    @staticmethod
    def _check_choice(where: str, value: Any, dimensions: list[Dimension]) -> None:
        legal = [choice for dimension in dimensions for choice in choices(dimension.distribution)]
        if not legal:
            raise ConfigError.at(where, value, "a key that is searched with choice(...)")
        if value not in legal:
            raise ConfigError.at(where, value, ", ".join(map(str, legal)))

    def shared(self, key: str, where: str = "") -> Any:
        """Gives the value that all trials share; of a config group, its option. where: it is asked for."""
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
