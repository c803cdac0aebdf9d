"""Sorts the overrides of a command line into those that all trials share and those that are searched."""

from collections.abc import Container, Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from finesweep.config.parse import type_of
from finesweep.config.study import PROCESSES, SweepConfig
from finesweep.errors import ConfigError
from finesweep.study.encode import encode_stored
from finesweep.study.grammar import distribution, ends


def split(given: Sequence[Override], groups: Container[str]) -> tuple[list[str], list[Override]]:
    """Returns the shared overrides and the searched ones. As in Hydra, the last override of a key wins.

    Raises: ConfigError where a later override sets a part of what an earlier one searches, or all around it.
    """
    fixed, searched = [], []
    for index, override in enumerate(given):
        later = given[index + 1 :]
        if any(_is_replaced(override, other) for other in later):
            continue
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            continue
        for other in later:
            if not other.is_sweep_override() and _overlaps(override, other, groups):
                raise ConfigError(
                    f"{override.key_or_group}: is searched, and {other.key_or_group}, given after it, would "
                    f"change what is searched; give {other.key_or_group} before it"
                )
        searched.append(override)
    return fixed, searched


def _is_replaced(override: Override, later: Override) -> bool:
    """Tells whether a later override of the same key makes this one void; dictionaries would be merged."""
    same = (override.key_or_group, override.package) == (later.key_or_group, later.package)
    return same and (override.is_sweep_override() or later.is_sweep_override())


def _overlaps(searched: Override, fixed: Override, groups: Container[str]) -> bool:
    """Tells whether one key lies within the other; not of a config group, which is always chosen first."""
    keys = [searched.key_or_group, fixed.key_or_group]
    if any(key in groups for key in keys):
        return False
    short, long = sorted(keys, key=len)
    return long.startswith(f"{short}.")


def processes(config: SweepConfig, fixed: Sequence[str]) -> list[str]:
    """Returns the override that `gpus_per_trial` stands for. Raises: ConfigError for two numbers."""
    count = config.gpus_per_trial
    if count is None:
        return []
    for text in fixed:
        key, _, value = text.partition("=")
        if key == PROCESSES and value != str(count):
            raise ConfigError.at(PROCESSES, value, f"{count}, as hydra.sweeper.gpus_per_trial, or none")
    return [f"{PROCESSES}={count}"]


def stand_ins(
    parser: OverridesParser, params: Mapping[str, str], searched: Sequence[Override], master: DictConfig
) -> list[str]:
    """Writes a value for each searched key or group that is `???`, so that the rest can be composed."""
    texts = [f"{key}={text}" for key, text in params.items() if _is_mandatory(key, master)]
    return [
        f"{override.get_key_element()}={encode_stored(ends(distribution(override, type_of(key)))[0])}"
        for override in [*parser.parse_overrides(texts), *searched]
        if _is_mandatory(key := override.key_or_group, master)
    ]


def _is_mandatory(key: str, master: DictConfig) -> bool:
    if OmegaConf.is_missing(master.hydra.runtime.choices, key):
        return True
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(master, parent) if parent else master
    return isinstance(node, DictConfig) and OmegaConf.is_missing(node, name)
