"""Makes `sweep=NAME` read `sweeps/NAME.yaml`, the folder beside `conf/`."""

import os

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

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


class SweepsSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds `sweeps/` beside the main config folder, right after it."""
        main = next((entry for entry in search_path.get_path() if entry.provider == "main"), None)
        if main is None:
            return
        folder = main.path.removeprefix("file://")
        if "://" not in folder:  # a folder, not a package
            sweeps = os.path.join(os.path.dirname(os.path.abspath(folder)), "sweeps")
            search_path.append(
                "finesweep", f"sweeps://{sweeps}", anchor=SearchPathQuery(provider="main", path=None)
            )
