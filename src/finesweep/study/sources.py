"""Reads the earlier studies that a study starts from, and queues what they found, once for each of them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from datasets import Dataset
from optuna.study import Study

from finesweep.config.places import absolute_url
from finesweep.config.study import StudyConfig
from finesweep.data import fingerprint
from finesweep.errors import ConfigError, StudyError
from finesweep.io.terminal import show
from finesweep.study.backend import backend_of
from finesweep.study.from_studies import Known, Start, choose
from finesweep.study.identity import CONTENT
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.ranking import best_first
from finesweep.study.reading import read_study
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.samplers import SAMPLER_KEY, sampler_entry
from finesweep.study.space import Space, named, params_of
from finesweep.study.studies import enqueue_new

KEY = "hydra.sweeper.study.start_from"


def read_starts(config: StudyConfig, space: Space) -> list[Start]:
    """Chooses the points to start from; none of a study whose points were queued by an earlier command.

    Raises: ConfigError, StudyError for a study that is unknown, or has found nothing.
    """
    known = _known_sources(config) if config.start_from else []
    new = [one for one in dict.fromkeys(config.start_from) if one not in known]
    if new and sampler_entry(config.sampler).enqueues_all_points:
        raise ConfigError.at(SAMPLER_KEY, config.sampler, f"another one with {KEY}; it tries every point")
    starts = choose([_read(one, config) for one in new], space, config.n_trials)
    if new and not starts:
        why = f"{', '.join(new)}: searched nothing that this study searches, so no point is tried first"
        show(f"start_from: {why}", sys.stderr)
    return starts


def queue_starts(study: Study, starts: list[Start], config: StudyConfig, space: Space) -> None:
    """Queues the points behind those of the sweep's file, and notes their studies, unless all are noted."""
    record = StudyRecord(study)
    new = [one for one in config.start_from if one not in (record.started_from or [])]
    if not new:
        return
    origins = (TrialRecord.attributes(origin=f"{one.known.study}#{one.known.trial}") for one in starts)
    enqueue_new(study, zip((named(one.point, space) for one in starts), origins, strict=True))
    record.started_from = [*(record.started_from or []), *new]


def choosers(config: StudyConfig, final_rows: Dataset | None) -> list[str]:
    """Names the earlier studies that chose by the rows of this one's final score, and says so.

    Those that it starts from, and those that these started from.
    """
    if not config.start_from or final_rows is None:
        return []
    rows, found = fingerprint(final_rows), list[str]()
    places = [_place(source, config.storage) for source in config.start_from]
    for name, storage in places:  # it grows meanwhile
        with suppress(StudyError, ConfigError), _opened(name, storage) as earlier:
            record = StudyRecord(earlier)
            if (record.identity or {}).get(CONTENT["eval"]) == rows and name not in found:
                found.append(name)
            project = Path(record.request.project if record.request else ".")
            before = (_place(source, storage, project) for source in record.started_from or [])
            places += [place for place in dict.fromkeys(before) if place not in places]
    for name in found:
        show(f"start_from: the rows of the final score chose the points of study {name}", sys.stderr)
    return found


def told(starts: list[Start]) -> list[str]:
    """Says which points are tried first, and what of them this study's space changes."""
    return [
        f"start_from: trial {start.known.trial} of {start.known.study}: {_pairs(start.point)}"
        + (f"; moved into this space: {', '.join(start.moved)}" if start.moved else "")
        + (f"; the sampler chooses {', '.join(start.missing)}" if start.missing else "")
        for start in starts
    ]


def _pairs(point: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in point.items())


def _known_sources(config: StudyConfig) -> list[str]:
    assert config.name is not None
    # It is still to be made, or a server's tables are; what else may be wrong, `check_ground` finds.
    with suppress(StudyError, ConfigError), _opened(config.name, config.storage) as study:
        return StudyRecord(study).started_from or []
    return []


@contextmanager
def _opened(name: str, storage: str) -> Iterator[Study]:
    """Opens a study for reading, and gives the connection back."""
    study = read_study(name, storage)
    backend = backend_of(study)
    assert isinstance(backend, PatientStorage)
    try:
        yield study
    finally:
        backend.engine.dispose()


def _place(source: str, storage: str, project: Path | None = None) -> tuple[str, str]:
    """Returns name and storage of an entry: `STORAGE::STUDY`, or `STUDY` in the storage that is given.

    project: the folder that a relative address starts from, unless it has moved; else the present one.
    """
    address, _, name = source.rpartition("::")
    return name, absolute_url(address or storage, project if project and project.is_dir() else Path.cwd())


def _read(source: str, config: StudyConfig) -> list[Known]:
    """Reads what a study found, best first."""
    name, storage = _place(source, config.storage)
    if name == config.name and storage == absolute_url(config.storage, Path.cwd()):
        raise ConfigError.at(KEY, source, "other studies than this one")
    try:
        with _opened(name, storage) as study:
            found = [Known(name, trial.number, params_of(trial)) for trial in best_first(study)]
    except StudyError as error:
        raise StudyError(f"{KEY}: {error}") from None
    except ConfigError as error:  # it names the study's own storage
        raise ConfigError(f"{KEY}: {source}: {error}") from None
    if not found:
        raise StudyError(
            f"{KEY}: study {name!r} has no complete trial yet; leave it out, or let it run first"
        )
    return found
