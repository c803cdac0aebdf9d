"""Makes the places in a config absolute, and finds places that were recorded before a project moved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

from finesweep.config.run import RunConfig, TrackingConfig

SQLITE = "sqlite:///"
_project: ContextVar[Path | None] = ContextVar("project", default=None)


@contextmanager
def in_project(folder: Path) -> Iterator[None]:
    """Names the folder that the command was started in while the body, a job, may work in another one."""
    token = _project.set(folder)
    try:
        yield
    finally:
        _project.reset(token)


def project() -> Path:
    """Returns the folder that the command was started in."""
    return _project.get() or Path.cwd()


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


def reachable(config: RunConfig) -> RunConfig:
    """Makes the places absolute where a job has a folder of its own."""
    base = project()
    return config if base == Path.cwd() else absolute_places(config, base)


def as_given(config: RunConfig) -> RunConfig:
    """Takes back what `reachable` did, for records: the project may move."""
    return config if project() == Path.cwd() else within_project(config)


def within_project(config: RunConfig) -> RunConfig:
    """Makes the places inside of the project relative: they are the same after it has moved."""
    base, template = project(), config.data.submission.template
    submission = replace(config.data.submission, template=template and _within(template, base))
    tracking, path, name = config.tracking, config.data.path, config.model.name_or_path
    return replace(
        config,
        tracking=replace(
            tracking,
            uri=url_within(tracking.uri, base),
            artifacts=_within(tracking.artifacts, base),
            spool=_within(tracking.spool, base),
        ),
        cache_dir=_within(config.cache_dir, base),
        data=replace(config.data, path=path and _within(path, base), submission=submission),
        model=replace(config.model, name_or_path=name and _within(name, base)),
    )


def url_within(url: str, base: Path) -> str:
    """Takes back what `absolute_url` did, for a database inside of `base`."""
    return f"{SQLITE}{_within(url.removeprefix(SQLITE), base)}" if url.startswith(SQLITE) else url


def _within(place: str, base: Path) -> str:
    return str(Path(place).relative_to(base)) if Path(place).is_relative_to(base) else place


def relocated(path: Path, bases: Sequence[Path], least: int) -> Path:
    """Returns where a path of another place now is: the longest end of it that is there in one of `bases`.

    It stays as it is if it lies in one of them, or none has as much of it as `least` parts.
    """
    if any(path.is_relative_to(base) for base in bases):
        return path
    ends = (path.parts[start:] for start in range(1, len(path.parts) - least + 1))
    found = (base.joinpath(*end) for end in ends for base in bases)
    return next((place for place in found if place.exists()), path)
