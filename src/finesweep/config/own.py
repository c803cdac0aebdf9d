"""Imports a person's own code, which a config names as `module:attribute`: a metric, a sampler."""

import importlib
import re
import sys
from collections.abc import Callable
from typing import Any

from finesweep.config.places import project
from finesweep.errors import ConfigError

OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def import_own(key: str, name: str) -> Callable[..., Any]:
    """Imports `module:name` from the project or an installed package. Raises: ConfigError, about `key`."""
    module, _, attribute = name.partition(":")
    if str(project()) not in sys.path:
        sys.path.insert(0, str(project()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the person's own code may raise anything
        problem = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{key}: got {name!r}, which cannot be imported ({problem}); legal: module:name, "
            "with a module in the working folder or in an installed package"
        ) from error
    if not callable(found):
        raise ConfigError(f"{key}: got {name!r}, which is no function or class")
    return found  # type: ignore[no-any-return]
