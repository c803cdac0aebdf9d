"""A study is resumed only with what it was started with; what may change is recorded."""

import json
import socket
from dataclasses import asdict
from datetime import datetime
from typing import Any

from optuna.study import Study

from finesweep.config.parse import to_dict
from finesweep.data import Splits, fingerprint
from finesweep.errors import StudyError
from finesweep.study import storage as studies
from finesweep.study.records import StudyRecord
from finesweep.study.request import SweepRequest
from finesweep.tracking import TrackedRun

# What the trials of a study share, but for what is searched; and of that, what says where and not what.
COMPARABLE = ("data", "model", "optimizer", "trainer")
PLACES = ("data.path", "trainer.threads", "trainer.device")


def identity(sweep: SweepRequest, splits: Splits) -> dict[str, Any]:
    """What makes results comparable: a study is resumed only with the same. Reads and checks the data."""
    run = sweep.run
    plain = to_dict(run)
    searched = {dimension.key for dimension in sweep.space}
    groups = [group for group in COMPARABLE if group not in searched]
    leaves = {f"{group}.{key}": value for group in groups for key, value in plain[group].items()}
    return {
        "space": {dimension.name: str(dimension) for dimension in sweep.space},
        "objectives": {name: direction.value for name, direction in sweep.objectives.items()},
        "seed": plain["seed"],
        # Below a group that is searched, only what the command fixes is the same for all trials.
        "fixed": sorted(text for text in sweep.overrides if text.partition(".")[0] in searched),
        **{key: value for key, value in leaves.items() if key not in searched and key not in PLACES},
        "data.train content": fingerprint(splits.train),
        "data.eval content": fingerprint(splits.eval),
    }


def refuse_other_study(sweep: SweepRequest, asked: dict[str, Any]) -> None:
    """Raises: StudyError with the difference, if the study exists and is another one."""
    try:
        study = studies.load(sweep.name, sweep.config.study.storage)
    except StudyError:
        return
    earlier = StudyRecord(study).identity
    if earlier is None or json.loads(json.dumps(asked)) == earlier:
        return
    changed = [
        key for key in {**earlier, **asked} if earlier.get(key) != json.loads(json.dumps(asked.get(key)))
    ]
    lines = [f"  {key}: was {earlier.get(key)!r}, is {asked.get(key)!r}" for key in changed]
    raise StudyError(
        f"study {sweep.name!r} was started with something else; trials of the two cannot be compared:\n"
        + "\n".join(lines)
        + "\nstart another study with hydra.sweeper.study.name=NAME, or give it what it had"
    )


def record(sweep: SweepRequest, workers: int, study: Study, parent: TrackedRun) -> None:
    """What may change from command to command, kept in order: samplers, pruners, budgets, workers."""
    plain = json.loads(json.dumps(asdict(sweep.config.study), default=lambda value: value.value))
    varies = {
        key: value for key, value in plain.items() if key not in ("name", "storage", "objectives", "seed")
    }
    command = {"time": datetime.now().isoformat(timespec="seconds"), "host": socket.gethostname(),
               "workers": workers, **varies}  # fmt: skip
    known = StudyRecord(study)
    known.history = [*(known.history or []), command]
    parent.log_text(json.dumps(known.history, indent=1) + "\n", "commands.json")
