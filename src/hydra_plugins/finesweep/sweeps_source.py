"""Makes `sweep=NAME` read `sweeps/NAME.yaml`, and lets a project use the package's configs."""

import os
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

from finesweep.config import folders
from finesweep.config.parse import SCHEMA

GROUP = "sweep"


class SweepsConfigSource(FileConfigSource):
    """A folder of YAML files that appears as the config group `sweep`."""

    @staticmethod
    def scheme() -> str:
        return "sweeps"

    def load_config(self, config_path: str) -> ConfigResult:
        return super().load_config(_within(config_path))

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(f"{GROUP}/") and super().is_config(_within(config_path))

    def available(self) -> bool:
        return os.path.isdir(self.path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Lists names relative to the group, as `--help` and errors show them."""
        if config_path == "":
            return [GROUP] if results_filter in (None, ObjectType.GROUP) else []
        if config_path != GROUP or results_filter is ObjectType.GROUP:
            return []
        return sorted(name.removesuffix(".yaml") for name in os.listdir(self.path) if name.endswith(".yaml"))


def _within(config_path: str) -> str:
    return config_path.removeprefix(f"{GROUP}/")


class FinesweepSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds the project's `sweeps/` right after its `conf/`, then the package's `conf/` and `sweeps/`.

        Hydra asks in every Hydra program of this environment; only those of finesweep register its schema.
        """
        main = next((entry for entry in search_path.get_path() if entry.provider == "main"), None)
        if main is None or f"{SCHEMA}.yaml" not in ConfigStore.instance().repo:
            return
        conf = main.path.removeprefix("file://")
        if "://" not in conf:  # a folder, not a package
            for path in reversed(folders.search_path(Path(conf))):
                search_path.append("finesweep", path, anchor=SearchPathQuery(provider="main", path=None))
