"""The identity of a study: what a command must share with it to go on; what may change is recorded."""

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from optuna.study import Study
from optuna.trial import TrialState

from finesweep.config.parse import to_dict
from finesweep.config.places import project, relocated, url_within
from finesweep.config.run import RunConfig
from finesweep.config.study import PROCESSES, StudyConfig
from finesweep.data import Splits, fingerprint
from finesweep.data.source import LABEL
from finesweep.errors import DataChanged, StudyError
from finesweep.io.model_files import folder_hash
from finesweep.io.redaction import redact_urls, redact_values
from finesweep.io.terminal import trainer
from finesweep.study import clock, studies
from finesweep.study.editing import SPACE, difference, may_be_edited, ranges
from finesweep.study.records import StudyRecord
from finesweep.study.request import SweepRequest
from finesweep.tasks import task_of
from finesweep.tracking import TrackedRun

# The config groups that the trials of a study share, but for what is searched.
COMPARABLE = ("data", "model", "optimizer", "trainer", "peft")
# Keys of these that do not change a result: places, the direction, which the objectives contain, and how
# tables are read, for the rows as read are compared.
PLACES = ("data.path", "data.direction", "trainer.threads", "trainer.device",
          "data.empty", "data.delimiter", "data.encoding", "data.decimal")  # fmt: skip

SHORTCUTS = "trainer.shortcuts"
CONTENT = {"train": "data.train content", "eval": "data.eval content"}  # split -> the key of its rows' hash
MODELS = "model content"  # the key of the hashes of all models that are folders


def identity(sweep: SweepRequest, splits: Splits) -> dict[str, Any]:
    """Returns everything that makes a study's trials comparable, ready for JSON. splits: the data as read."""
    run = sweep.run
    searched = {dimension.key for dimension in sweep.space}
    shared = {key: value for key, value in _leaves(run).items() if not _is_within(key, searched)}
    made_of: dict[str, Any] = {
        SPACE: ranges(sweep.space),
        "objectives": {name: direction.value for name, direction in sweep.objectives.items()},
        "seed": run.seed,
        # Below a group that is searched, only what the command fixes is the same for all trials.
        "fixed": sorted(text for text in sweep.overrides if text.lstrip("+").partition(".")[0] in searched),
        **shared,
        PROCESSES: run.trainer.num_processes,
        "data.positive_label": _positive_label(sweep, splits),
        "data.standardize": task_of(run.data).fitted(splits.train[LABEL][:]).is_standardized,
        "data.path": run.data.path,  # is not compared, but shown if the rows differ
        CONTENT["train"]: fingerprint(splits.train),
        CONTENT["eval"]: fingerprint(splits.eval),
        MODELS: sorted(set(filter(None, (folder_hash(one.model.name_or_path) for one in sweep.models)))),
    }
    return cast(dict[str, Any], redact_values(made_of))


def _leaves(run: RunConfig) -> dict[str, Any]:
    """Returns the config that trials share, by dotted key, without places such as the data's path."""
    plain = to_dict(run)
    leaves = {f"{group}.{key}": value for group in COMPARABLE for key, value in plain.get(group, {}).items()}
    return {key: value for key, value in leaves.items() if key not in PLACES}


def _is_within(key: str, searched: set[str]) -> bool:
    return key in searched or key.partition(".")[0] in searched


def _positive_label(sweep: SweepRequest, splits: Splits) -> str | None:
    """Returns the label that the study's objectives score; None if they score all labels."""
    task, names = task_of(sweep.run.data), splits.labels or []
    binary = any(name in task.metrics and task.metrics[name].is_binary for name in sweep.objectives)
    positive = task.positive_id(names) if binary else None
    return None if positive is None else names[positive]


def refuse_other_study(
    sweep: SweepRequest, requested: dict[str, Any], splits: Splits, may_edit: bool = False
) -> None:
    """Compares the study, if it exists, with the one that a command requests.

    may_edit: whether other ranges are no difference. Raises: StudyError with the difference.
    """
    try:
        study = studies.load(sweep.name, sweep.config.study.storage)
    except StudyError:
        return
    stored = redact_values(StudyRecord(study).identity)  # that of an older version has passwords
    if stored is None:
        return _refuse_foreign(study, sweep)
    requested = json.loads(json.dumps(requested))
    path = stored.get("data.path", "not recorded")
    stored = _of_today(stored, requested, splits)
    keys = dict.fromkeys([*stored, *requested])
    changed = [key for key in keys if key not in PLACES and stored.get(key) != requested.get(key)]
    can_edit = changed == [SPACE] and may_be_edited(stored[SPACE], requested[SPACE])
    if not changed or (can_edit and may_edit):
        return
    if path != requested["data.path"] and any(key.endswith(" content") for key in changed):
        stored, changed = stored | {"data.path": path}, ["data.path", *changed]
    spaces = difference(StudyRecord(study), sweep.space) if SPACE in changed else []
    others = [f"{key}: was {stored.get(key)!r}, is {requested.get(key)!r}" for key in changed if key != SPACE]
    lines = [f"  {line}" for line in [*spaces, *others]]
    raise StudyError(_refusal(sweep.name, lines, can_edit))


def _refuse_foreign(study: Study, sweep: SweepRequest) -> None:
    """Raises: StudyError for a study of another program.

    One of our own, of which its command could make no more than the queue, is as good as none.
    """
    trials = study.get_trials(deepcopy=False)
    is_ours = StudyRecord(study).hashed_seeds is not None
    wanted = [direction.value for direction in sweep.objectives.values()]
    directions = [direction.name.lower() for direction in study.directions]
    is_begun = any(not is_ours or trial.state is not TrialState.WAITING for trial in trials)
    if is_begun or directions != wanted:
        raise StudyError(
            f"study {sweep.name!r} has no record of a command: another program made it, or its command was "
            f"killed at its start ({len(trials)} trials; it is to {' and '.join(directions)}); start another "
            "study with hydra.sweeper.study.name=NAME"
        )


def _refusal(name: str, changes: Sequence[str], can_edit: bool) -> str:
    edit = "; hydra.sweeper.study.edit=true goes on with the trials that lie in the new ranges"
    return "\n".join(
        [
            f"study {name!r} was started with something else; trials of the two cannot be compared:",
            *changes,
            "start another study with hydra.sweeper.study.name=NAME, or give it what it had"
            + (edit if can_edit else ""),
        ]
    )


def refuse_other_model(study: Study, content: str | None) -> None:
    """Compares a trial's model with those that the study began with.

    content: its `folder_hash`; None for a model that is no folder. Raises: DataChanged.
    """
    known = (StudyRecord(study).identity or {}).get(MODELS)  # None in a study from before it was noted
    if known is not None and content is not None and content not in known:
        raise DataChanged(
            f"model.name_or_path: its files are no longer those that study {study.study_name!r} began with, "
            "so its trials could not be compared; put the old files back and start the same command again, "
            "or start another study with hydra.sweeper.study.name=NAME"
        )


def refuse_other_rows(study: Study, rows: Mapping[str, str]) -> None:
    """Compares rows that a trial has read with those that the study began with.

    rows: the SHA-256 of each split, by its name in `CONTENT`. Raises: DataChanged.
    """
    stored = StudyRecord(study).identity or {}
    for split, key in CONTENT.items():
        if key in stored and stored[key] != rows[split]:
            raise DataChanged(
                f"data.path: {stored.get('data.path') or stored.get('data.name')}: the rows of {split} are "
                f"no longer those that study {study.study_name!r} began with, so its trials could not be "
                "compared; put the old rows back and start the same command again, or start another study "
                "with hydra.sweeper.study.name=NAME"
            )


def without_shortcuts(sweep: SweepRequest) -> list[str]:
    """Lets a study from before `trainer.shortcuts` go on with the library's own code, as it began.

    Returns the override that its trials need. Side effect: sets the key in the request, and says so.
    """
    try:
        stored = StudyRecord(studies.load(sweep.name, sweep.config.study.storage)).identity or {SHORTCUTS: []}
    except StudyError:
        return []
    if SHORTCUTS in stored or any(text.startswith(f"{SHORTCUTS}=") for text in sweep.overrides):
        return []
    sweep.run.trainer.shortcuts = []
    print(f"study {sweep.name} is from before {SHORTCUTS}, and goes on without them", file=sys.stderr)
    return [f"{SHORTCUTS}=[]"]


def _of_today(stored: dict[str, Any], requested: dict[str, Any], splits: Splits) -> dict[str, Any]:
    """Adds the keys that the finesweep that started the study did not know, with the values they had then."""
    defaults = json.loads(json.dumps(_leaves(RunConfig())))
    is_demo = stored.get("data.name") == "demo" and not stored.get("data.glue_task")
    defaults["data.source"] = "glue" if stored.get("data.glue_task") else "demo" if is_demo else "table"
    if requested["data.positive_label"] is not None:  # version 0.1 scored the second of two labels
        defaults["data.positive_label"] = splits.labels[-1] if splits.labels else None
    defaults["data.standardize"] = False
    defaults[SHORTCUTS] = []
    defaults[MODELS] = requested[MODELS]
    defaults[PROCESSES] = 1
    missing = {key: defaults[key] for key in requested if key in defaults and key not in stored}
    known = {key: value for key, value in stored.items() if key not in PLACES}
    model, now = known.get("model.name_or_path"), requested.get("model.name_or_path")
    if model and now and Path(model).is_absolute() and not Path(model).exists():  # the project has moved
        is_same = relocated(Path(model), [Path.cwd()], least=1) == Path(now).absolute()
        known["model.name_or_path"] = now if is_same else model
    return missing | known


def record(sweep: SweepRequest, given: StudyConfig, workers: int, study: Study, parent: TrackedRun) -> None:
    """Appends this command to the study's history: samplers, pruners, budgets and workers may change.

    given: the budgets as the command has them; the study may have others by now.
    """
    plain = json.loads(json.dumps(asdict(given), default=lambda value: value.value))
    varies = {
        key: value for key, value in plain.items() if key not in ("name", "storage", "objectives", "seed")
    }
    clock.start(study)
    time = datetime.fromtimestamp(clock.now(study)).astimezone()
    store = url_within(redact_urls(sweep.run.tracking.uri), project())
    command = {"time": time.isoformat(timespec="seconds"), "host": socket.gethostname(),
               "program": trainer(), "workers": workers, "tracking_uri": store, **varies}  # fmt: skip
    known = StudyRecord(study)
    known.history = [*(known.history or []), command]
    parent.log_text(json.dumps(known.history, indent=1) + "\n", "commands.json")
