"""Whether a record that somebody has kept, or edited, is whole."""

from collections.abc import Mapping
from typing import Any

from finesweep.errors import ConfigError

# What is read of a record again.
SHAPE: dict[str, type] = {
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
            node = node.get(key) if isinstance(node, Mapping) else None
        if not isinstance(node, kind):
            raise ConfigError.at(f"{where}: {path}", node, f"a {kind.__name__}; the record is damaged")
