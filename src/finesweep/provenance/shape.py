"""Checks that a stored record has every field that is read again."""

from collections.abc import Mapping
from types import NoneType
from typing import Any

from finesweep.errors import ConfigError

MISSING = object()
# Dotted path of each field that is read again, and its type.
SHAPE: dict[str, type | tuple[type, ...]] = {
    "config.data.metric": str, "machine.onednn.isa": (str, NoneType), "machine.gpu": (dict, NoneType),
    "code.commit": (str, NoneType), "code.patch_sha256": (str, NoneType), "data.train.sha256": str,
    "config.model": dict, "config.data": dict, "config.trainer": dict, "config.tracking.uri": str,
    "overrides": list, "mixed": list, "seeds": dict,
    "machine.python": str, "machine.platform": str, "machine.cpu": str, "machine.threads": int,
    "machine.device": str, "machine.precision": str, "machine.cpu_capability": str, "machine.onednn": dict,
    "machine.variables": dict, "packages.torch": str, "code.files": dict, "model.source": str,
    "data.train.rows": int, "data.train.columns": dict, "data.eval.rows": int, "data.eval.columns": dict,
    "results": dict,
}  # fmt: skip


def check_shape(found: Mapping[str, Any], where: str) -> None:
    """Raises: ConfigError naming the first field that is missing, or of another kind."""
    for path, kind in SHAPE.items():
        node: Any = found
        for key in path.split("."):
            node = node.get(key, MISSING) if isinstance(node, Mapping) else MISSING
        if not isinstance(node, kind):
            got = "nothing" if node is MISSING else f"{str(node)[:60]!r}"
            raise ConfigError(
                f"{where}: {path}: got {got}; the record is damaged; take it from its source again"
            )
