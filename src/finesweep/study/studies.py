"""Makes, finds and loads the studies of a storage."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import Study

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import StudyError, did_you_mean
from finesweep.io.patience import Patience
from finesweep.io.redaction import redact_urls
from finesweep.io.terminal import trainer
from finesweep.study.backend import cached
from finesweep.study.lock import SQLITE
from finesweep.study.records import StudyRecord
from finesweep.study.storage import open_storage, patience_of


def create(
    config: StudyConfig,
    objectives: Mapping[str, Direction],
    points: Sequence[dict[str, Any]],
    attrs: dict[str, Any],
) -> Study:
    """Finds the study, or makes it with its attributes and enqueued points; under the study's lock.

    What identifies it comes first: if it is killed in between, the same command queues the rest.
    """
    assert config.name is not None
    study = optuna.create_study(
        storage=cached(open_storage(config.storage, patience_of(config))),
        study_name=config.name,
        directions=[direction.value for direction in objectives.values()],
        load_if_exists=True,
    )
    if not study.user_attrs:  # it is new
        StudyRecord(study).write_all(hashed_seeds=True, spread_start=True)
    if study.metric_names is None:  # also of a study from before they were set
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
            study.set_metric_names(list(objectives))
    StudyRecord(study).write(attrs)
    enqueue_new(study, [(point, {}) for point in points])
    return study


def enqueue_new(study: Study, points: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Queues the points that no trial has; Optuna's `skip_if_exists` reads all trials for each of them.

    points: each with the attributes of its trial, by Optuna's names.
    """
    trials = study.get_trials(deepcopy=False)
    known = {frozenset(trial.system_attrs.get("fixed_params", trial.params).items()) for trial in trials}
    for point, attrs in points:
        if (key := frozenset(point.items())) not in known:
            known.add(key)
            study.enqueue_trial(point, attrs)


def load(name: str, storage: str, patience: Patience | None = None) -> Study:
    """Loads a study; its calls are repeated for `patience`. Raises: StudyError, which lists the studies."""
    check_exists(name, storage)
    opened = open_storage(storage, patience)
    try:
        return find(name, opened, storage)
    except StudyError:
        opened.engine.dispose()  # who waits for a study asks often, and would hold a connection for each time
        raise


def check_exists(name: str | None, storage: str) -> None:
    """Raises: StudyError if the SQLite file of a storage is not there. name: the study that is looked for."""
    if storage.startswith(SQLITE) and not Path(storage.removeprefix(SQLITE)).exists():
        what = "no studies" if name is None else f"study {name!r}"
        raise StudyError(f"{what}: there is no {storage} here; start a study with {trainer()} -m")


def find(name: str, opened: RDBStorage, storage: str) -> Study:
    """Finds a study in an opened storage; the address is for messages.

    Raises: StudyError, which lists the studies that are there.
    """
    try:
        return optuna.load_study(study_name=name, storage=cached(opened))
    except KeyError:
        names = sorted(optuna.get_all_study_names(opened))
        raise StudyError(
            f"study {name!r}: not in {redact_urls(storage)}; {did_you_mean(name, names)}"
            f"there: {', '.join(names) or 'none'}; start one with {trainer()} -m"
        ) from None
