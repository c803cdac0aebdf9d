"""Makes the places in a config absolute: with `hydra.job.chdir=true` a job has its own folder."""

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
    path, name, submission = config.data.path, config.model.name_or_path, config.data.submission
    if submission.template and (base / submission.template).is_file():  # else it is in `path`
        submission = replace(submission, template=str(base / submission.template))
    if name and (base / name).is_dir():
        name = str(base / name)
    return replace(
        config,
        tracking=absolute_tracking(config.tracking, base),
        cache_dir=str(base / config.cache_dir),
        data=replace(config.data, path=path and str(base / Path(path).expanduser()), submission=submission),
        model=replace(config.model, name_or_path=name),
    )
