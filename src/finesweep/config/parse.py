"""Converts Hydra's configs and recorded ones into dataclasses and back. Nothing else reads `DictConfig`."""

import copy
import dataclasses
import re
from collections.abc import Sequence
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import ValidationError
from yaml import YAMLError

from finesweep.config.reference import help_template
from finesweep.config.rules import check_rules
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError, did_you_mean

SCHEMA = "run_config"  # its name in `conf/config.yaml`


def register_schema(command: str = "python train.py") -> None:
    """Registers `RunConfig` with Hydra as `run_config`, the schema that `conf/config.yaml` starts from.

    Its `--help` is `${finesweep.help:}`, with `command` as what a person starts.

    Side effect: Hydra no more copies its store of schemas each time that it composes a config or lists a
    config group, which took half of `--help` and of composing a trial. It never changes a copy.
    """
    ConfigStore.instance().store(name=SCHEMA, node=RunConfig)
    OmegaConf.register_new_resolver("finesweep.help", lambda: help_template(command), replace=True)
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]


def parse_config(cfg: DictConfig) -> RunConfig:
    """Turns Hydra's config into plain dataclasses and checks every value.

    Raises: ConfigError, which names the key, its value and what is legal.
    """
    cfg = copy.deepcopy(cfg)
    with flag_override(cfg, ["struct", "readonly"], False):
        cfg.pop("hydra", None)
    _check_known(OmegaConf.to_container(cfg, resolve=False), RunConfig)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]}: no value; set it on the command line, {missing[0]}=...")
    return _checked(cfg)


def _check_known(plain: Any, type_: Any, prefix: str = "") -> None:
    """Raises: ConfigError for a key that the schema does not have, which `+key=...` adds."""
    types = get_type_hints(type_)
    for key, value in plain.items():
        if key not in types:
            hint = did_you_mean(key, types, prefix)
            raise ConfigError(
                f"{prefix}{key}: no such key, nothing reads it; {hint}legal: {', '.join(types)}"
            )
        if isinstance(value, dict) and dataclasses.is_dataclass(_not_none(types[key])):
            _check_known(value, _not_none(types[key]), f"{prefix}{key}.")


def type_of(key: str) -> Any:
    """Returns the type of a key of RunConfig, leaving out None; Any for a key that is not in the schema."""
    type_: Any = RunConfig
    for name in key.split("."):
        types = get_type_hints(type_) if dataclasses.is_dataclass(type_) else {}
        type_ = _not_none(types.get(name, Any))
    return type_


def _not_none(type_: Any) -> Any:
    """Returns float for `float | None`."""
    if not isinstance(type_, UnionType):
        return type_
    (left,) = [one for one in get_args(type_) if one is not type(None)]
    return left


def from_dict(*plain: dict[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Builds a RunConfig from dictionaries (later ones win), then applies ``key=value`` overrides.

    Dictionaries are data, perhaps somebody else's: no ``${...}`` in them is resolved.

    Raises: ConfigError for an illegal value, OmegaConf's own error for an unknown key.
    """
    merged = OmegaConf.merge(OmegaConf.structured(RunConfig), *(literal(_of_today(part)) for part in plain))
    for text in overrides:
        key = text.partition("=")[0]
        try:
            override = OmegaConf.from_dotlist([text])
            if OmegaConf.get_type(OmegaConf.select(merged, key)) is dict:  # it is replaced, not merged
                OmegaConf.update(merged, key, {}, merge=False)
            merged = OmegaConf.merge(merged, override)
        except (ValidationError, YAMLError) as error:
            problem = str(error).splitlines()[0]
            raise ConfigError(f"{text}: {problem}; legal: one key and its value, such as seed=43") from error
    return _checked(merged)


def literal(node: Any) -> Any:
    r"""Escapes every `${` in a recorded config, so that OmegaConf reads it as text and resolves nothing.

    Backslashes in front of it are doubled, because OmegaConf takes ``\\${`` for an escaped backslash.
    """
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def _of_today(plain: dict[str, Any]) -> dict[str, Any]:
    """Adds the keys that older configs lack and whose defaults would give another result.

    Version 0.1 had no `data.source` and `data.positive_label`; early versions standardized no labels, and
    took no shortcuts.
    """
    trainer = plain.get("trainer", {})
    if "num_train_epochs" in trainer and "shortcuts" not in trainer:  # a whole config, not a part to merge
        plain = {**plain, "trainer": {**trainer, "shortcuts": []}}
    data = plain.get("data", {})
    if data.get("problem_type") == "regression" and "standardize" not in data:
        data = {**data, "standardize": False}
        plain = {**plain, "data": data}
    if not data or "source" in data:
        return plain
    source = "glue" if data.get("glue_task") else "table" if data.get("path") else "demo"
    labels = data.get("labels") or []
    positive = labels[1] if len(labels) == 2 else None  # version 0.1 scored the label with id 1
    return {**plain, "data": {**data, "source": source, "positive_label": positive}}


def _checked(cfg: Any) -> RunConfig:
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, RunConfig)
    if isinstance(weights := config.data.class_weights, dict):  # labels are names, also 0 and 1
        config.data.class_weights = {str(name): weight for name, weight in weights.items()}
    check_rules(config)
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Converts the config to nested dictionaries of plain values, for YAML and JSON.

    Without adapters there is no key `peft`, and with one process no `trainer.num_processes`, so that records
    and hashes are those of versions before them.
    """
    plain = {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if config.trainer.num_processes == 1:
        del plain["trainer"]["num_processes"]
    return plain if config.peft else {key: value for key, value in plain.items() if key != "peft"}


def _plain(value: Any) -> Any:
    """Returns what OmegaConf makes of a checked value, but quickly: every trial asks four times."""
    if isinstance(value, Enum):
        return value.name
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(map(_plain, value)) if isinstance(value, list) else value


def to_yaml(config: RunConfig) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def flat(config: RunConfig) -> dict[str, Any]:
    """Converts the config to one dictionary with dotted keys: ``{"optimizer.learning_rate": 1e-4, ...}``."""

    def walk(prefix: str, node: dict[str, Any]) -> dict[str, Any]:
        leaves: dict[str, Any] = {}
        for key, value in node.items():
            is_group = isinstance(value, dict) and key != "class_weights"
            leaves |= walk(f"{prefix}{key}.", value) if is_group else {f"{prefix}{key}": value}
        return leaves

    return walk("", to_dict(config))
