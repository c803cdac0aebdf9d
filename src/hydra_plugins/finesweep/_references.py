"""Replaces passwords in Hydra's config, which launchers write into files, by the names of variables."""

from typing import Any

from omegaconf import DictConfig, ListConfig, flag_override

from finesweep.io.job_secrets import refer


def without_secrets(config: DictConfig) -> None:
    """Replaces each secret, wherever it stands, by ``${oc.env:NAME}``, which has the same value.

    A command line's secrets are replaced before Hydra reads it; these come from YAML files.
    """
    _replace(config, "")


def _replace(node: DictConfig | ListConfig, place: str) -> None:
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    keys: list[Any] = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
    for key in keys:
        child: Any = node._get_node(key)  # not its value, which may be an interpolation
        name = f"{place}.{key}".lstrip(".")
        if isinstance(child, (DictConfig, ListConfig)):
            _replace(child, name)
            continue
        value = child._value()
        if isinstance(value, str) and (reference := refer(name, value)) != value:
            with flag_override(node, ["readonly", "struct"], False):
                node[key] = reference
