"""Composes configs as train.py does, and leaves Hydra's global state as it was found."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from finesweep.cli.entry import refused_config
from finesweep.config.folders import conf_of
from finesweep.config.parse import parse_config, register_schema
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.io.job_secrets import hide
from finesweep.study.encode import encode

CONFIG, JOB = "config", "train"  # the name of the config, and of the job, as in train.py
Overrides = Sequence[str] | Mapping[str, Any]


def load_config(overrides: Overrides = (), *, config_dir: str | Path | None = None) -> RunConfig:
    """Composes the config of one run, as `python train.py OVERRIDES` does.

    overrides: Hydra's, such as `["data=rte", "optimizer.learning_rate=1e-4"]`, or a dictionary of values:
    `{"data": "rte", "optimizer.learning_rate": 1e-4, "data.text_columns": ["title", "text"]}`.
    config_dir: the main folder of configs; by default the working folder's `conf/`, else the package's.
    Raises: ConfigError for an unknown key or an illegal value.
    """
    arguments = written(overrides)
    with hydra_of(config_dir) as hydra, as_config_errors(arguments):
        composed = hydra.compose_config(
            CONFIG, arguments, run_mode=RunMode.RUN, from_shell=False, with_log_configuration=False
        )
        return parse_config(composed)


def written(overrides: Overrides) -> list[str]:
    """Writes overrides in Hydra's grammar; passwords are moved into the environment."""
    if isinstance(overrides, str):
        raise ConfigError.at("overrides", overrides, f"a list of texts, such as [{overrides!r}]")
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={encode(_plain(value))}" for key, value in overrides.items()]
    return hide(overrides)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    return str(value) if isinstance(value, Path) else value


@contextmanager
def hydra_of(config_dir: str | Path | None) -> Iterator[Hydra]:
    """Yields a Hydra that reads this folder. Side effect while the body runs: it is Hydra's global one.

    Raises: ConfigError if there is no such folder.
    """
    folder = conf_of(Path.cwd()) if config_dir is None else Path(config_dir).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError.at("config_dir", str(config_dir), "a folder of configs, such as a project's conf")
    register_schema()
    hydra, job, base = GlobalHydra.instance().hydra, HydraConfig.instance().cfg, version.getbase()
    try:
        GlobalHydra.instance().clear()
        version.setbase("1.3")
        yield Hydra.create_main_hydra2(JOB, create_config_search_path(str(folder)))
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, job
        version.VersionBase.instance().version_base = base


@contextmanager
def as_config_errors(arguments: Sequence[str]) -> Iterator[None]:
    """Raises ConfigError in place of Hydra's and OmegaConf's own errors, as the commands word them."""
    try:
        yield
    except Exception as error:
        if (refused := refused_config(error, arguments)) is None:
            raise
        raise ConfigError(refused) from error
