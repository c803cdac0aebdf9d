"""Finds the checkpoint that a person names: a folder, a run's id, or a study, whose winner it is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finesweep.config.run import TrackingConfig
from finesweep.config.trained import FILE, trained_with
from finesweep.errors import FinesweepError, ModelError, StudyError
from finesweep.io import checkpoint
from finesweep.io.reading import Unreadable, read_object
from finesweep.reproduce.recorded_run import RUN_FILE, RUN_ID, load_recorded_run
from finesweep.tags import Tag

BEGINNING = re.compile("[0-9a-f]{1,31}")  # of a run's id
CHECKPOINT = "checkpoint"  # the folder in a run's folder and in an exported one; the name of the artifact


@dataclass(frozen=True)
class Stores:
    """Where runs and studies are."""

    storage: str  # Optuna's database
    tracking: TrackingConfig


@dataclass(frozen=True)
class Origin:
    """A checkpoint, and what is known of how it was trained."""

    folder: Path
    known: dict[str, Any]  # a part of a config; empty for a checkpoint of another program
    run_id: str | None = None

    @property
    def shown(self) -> str:
        return f"{self.folder} (run {self.run_id})" if self.run_id else str(self.folder)


def find_origin(name: str, stores: Stores, scratch: Path) -> Origin:
    """Finds the checkpoint of a folder, a run or a study. scratch: a folder for what has to be downloaded.

    Raises: ModelError if it is missing or damaged; RunError, StudyError, ConfigError.
    """
    if not name:
        raise ModelError("CHECKPOINT|RUN_ID|STUDY: got ''; legal: a checkpoint's folder, a run's id, a study")
    if Path(name).expanduser().exists() or name.startswith((".", "/", "~")):
        return _of_folder(Path(name).expanduser(), stores)
    if RUN_ID.fullmatch(name):
        return _of_run(name, stores, scratch)
    try:
        return _of_study(name, stores, scratch)
    except StudyError:
        if not BEGINNING.fullmatch(name):
            raise
    return _of_run(name, stores, scratch)  # by the beginning of its id


def _of_folder(folder: Path, stores: Stores) -> Origin:
    """Takes a checkpoint, the folder of a run, or one that `finesweep export` made."""
    inner = folder / CHECKPOINT
    if not (folder / "config.json").is_file() and inner.is_dir():
        is_exported = (folder / RUN_FILE).is_file()
        return _checked(inner, lambda: _recorded(str(folder), stores) if is_exported else {})
    if not (folder / "config.json").is_file():
        problem = "no such folder" if not folder.exists() else "no checkpoint: it has no config.json"
        raise ModelError(f"{folder}: {problem}; legal: a folder that `from_pretrained` loads, a run, a study")
    return _checked(folder, dict, needs_manifest=(folder / FILE).exists())


def _of_run(run_id: str, stores: Stores, scratch: Path) -> Origin:
    """Takes the checkpoint of a trial's folder; where it is gone or damaged, the artifact of the run."""
    from finesweep.tracking import find_run

    run = find_run(stores.tracking, run_id)
    run_id, folder = run.info.run_id, _of_trial(run.data.tags, stores)
    if folder is None or checkpoint.find_damage(folder):
        folder = _artifact(run_id, stores, scratch) or folder
    if folder is None:
        raise ModelError(
            f"run {run_id}: its checkpoint is not kept: it did not train to its end, or its study keeps "
            "those of better trials; legal: another run, or the study's name"
        )
    return _checked(folder, lambda: _recorded(run_id, stores), run_id)


def _artifact(run_id: str, stores: Stores, scratch: Path) -> Path | None:
    from finesweep.tracking import TrackedRun, open_reader

    tracked = TrackedRun(open_reader(stores.tracking), run_id)
    try:
        return tracked.local(CHECKPOINT) or tracked.download(CHECKPOINT, scratch)
    except ModelError:
        return None


def _of_trial(tags: dict[str, str], stores: Stores) -> Path | None:
    """Returns the checkpoint of a trial's run in its folder; None if it is not there, or for another run."""
    if Tag.TRIAL not in tags:
        return None
    from finesweep.study.places import places_of
    from finesweep.study.reading import read_study
    from finesweep.study.records import TrialRecord

    try:
        study = read_study(tags[Tag.STUDY], stores.storage)
        recorded = TrialRecord(study.trials[int(tags[Tag.TRIAL])]).checkpoint
    except (FinesweepError, LookupError):  # the study is elsewhere; the run may have an artifact
        return None
    folder = places_of(study).find(recorded) if recorded else None
    return folder if folder and folder.is_dir() else None


def _of_study(name: str, stores: Stores, scratch: Path) -> Origin:
    from finesweep.monitor import report
    from finesweep.study.reading import read_study

    best = report.best(read_study(name, stores.storage))
    folder = Path(best.checkpoint) if best.checkpoint else None
    if folder and folder.is_dir() and not checkpoint.find_damage(folder):
        return _checked(folder, lambda: _recorded(best.run_id, stores), best.run_id)
    return _of_run(best.run_id, stores, scratch)


def _recorded(where: str, stores: Stores) -> dict[str, Any]:
    """Returns what predictions need of a run's record. Early versions took no shortcuts."""
    config = load_recorded_run(where, stores.tracking).record.config
    return trained_with({**config, "trainer": {"shortcuts": [], **config["trainer"]}})


def _checked(
    folder: Path,
    record: Callable[[], dict[str, Any]],
    run_id: str | None = None,
    needs_manifest: bool = True,
) -> Origin:
    """Verifies a checkpoint. record: reads what its run's record says, if the checkpoint itself does not.

    Raises: ModelError for damage.
    """
    has_manifest = needs_manifest or (folder / checkpoint.MANIFEST).exists()
    if has_manifest and (reason := checkpoint.find_damage(folder)):
        raise ModelError(f"{folder}: the checkpoint is damaged: {reason}; take it from its source again")
    if not (folder / FILE).exists():
        return Origin(folder, record(), run_id)
    try:
        return Origin(folder, trained_with(_groups(read_object(folder / FILE))), run_id)
    except Unreadable as error:
        raise ModelError(f"{folder / FILE}: {error}; take the checkpoint from its source again") from error


def _groups(content: dict[str, Any]) -> dict[str, Any]:
    if wrong := [name for name, group in content.items() if not isinstance(group, dict)]:
        raise Unreadable(f"{wrong[0]!r} is no object")
    return content
