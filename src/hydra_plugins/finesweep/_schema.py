"""Builds the schemas by which Hydra checks the plugins' own keys."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def open_schema(config: type[Any], *dictionaries: str) -> DictConfig:
    """Returns the schema of a config's dataclass. These dictionaries in it take new keys without a `+`."""
    schema = OmegaConf.structured(config)
    for key in dictionaries:
        OmegaConf.set_struct(OmegaConf.select(schema, key), False)
    assert isinstance(schema, DictConfig)
    return schema
