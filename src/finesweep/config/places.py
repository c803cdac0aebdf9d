"""Makes the places in a config absolute, and finds places that were recorded before a project moved."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finesweep.config.run import RunConfig, TrackingConfig

SQLITE = "sqlite:///"


def absolute_url(url: str, base: Path) -> str:
    """Makes the path of a SQLite database absolute; other databases and servers stay as they are."""
    return f"{SQLITE}{base / url.removeprefix(SQLITE)}" if url.startswith(SQLITE) else url


def absolute_tracking(config: TrackingConfig, base: Path) -> TrackingConfig:
    return replace(
        config,
        uri=absolute_url(config.uri, base),
        artifacts=str(base / config.artifacts),
        spool=str(base / config.spool),
    )


def absolute_places(config: RunConfig, base: Path) -> RunConfig:
    """Makes every place absolute. base: the folder that relative ones are in.

    A model is a folder only if there is one of that name; else it is an id on the hub.
    """
    path, name = config.data.path, config.model.name_or_path
    if name and (base / name).is_dir():
        name = str(base / name)
    return replace(
        config,
        tracking=absolute_tracking(config.tracking, base),
        cache_dir=str(base / config.cache_dir),
        data=replace(config.data, path=path and str(base / Path(path).expanduser())),
        model=replace(config.model, name_or_path=name),
    )


def relocated(path: Path, bases: Sequence[Path], least: int) -> Path:
    """Returns where a path of another place now is: the longest end of it that is there in one of `bases`.

    It stays as it is if it lies in one of them, or none has as much of it as `least` parts.
    """
    if any(path.is_relative_to(base) for base in bases):
        return path
    ends = (path.parts[start:] for start in range(1, len(path.parts) - least + 1))
    found = (base.joinpath(*end) for end in ends for base in bases)
    return next((place for place in found if place.exists()), path)
