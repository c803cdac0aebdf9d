"""train.py, killed with SIGKILL at a named place: python tests/support/crashing.py PLACE PASSAGE LATCH -m ...

PLACE `every` kills nobody and tells in the folder LATCH which places were passed.
PASSAGE: which time that a process comes to the place kills it, from 1 on. Of several processes started with
the same LATCH (a path) only the first one dies: it leaves its pid there.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Is = Callable[..., bool]
Place = Callable[["Latch"], None]


class Latch:
    def __init__(self, passage: int, path: Path) -> None:
        self.passage, self.path, self.passed = passage, path, 0
        self._lock = threading.Lock()  # heartbeats come to places too

    def is_mine(self) -> bool:
        """Whether this process dies now."""
        with self._lock:
            self.passed += 1
            if self.passed != self.passage:
                return False
            try:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                return False
            os.write(descriptor, str(os.getpid()).encode())
            return True

    def pass_by(self) -> None:
        if self.is_mine():
            die()


class Note(Latch):
    """Kills nobody: it makes its file when a process comes to the place."""

    def is_mine(self) -> bool:
        self.path.touch()
        return False


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # until it arrives


def always(*_: Any, **__: Any) -> bool:
    return True


def before(owner: Any, name: str, when: Is = always) -> Place:
    """`when` gets the arguments of the call."""

    def place(latch: Latch) -> None:
        function = getattr(owner, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            if when(*args, **kwargs):
                latch.pass_by()
            return function(*args, **kwargs)

        setattr(owner, name, replaced)

    return place


def after(owner: Any, name: str, when: Is = always, returned: Is = always) -> Place:
    """`when` gets the arguments of the call, `returned` its result."""

    def place(latch: Latch) -> None:
        function = getattr(owner, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if when(*args, **kwargs) and returned(result):
                latch.pass_by()
            return result

        setattr(owner, name, replaced)

    return place


def half_removed(name: str) -> Place:
    """Inside of `shutil.rmtree`, with half the files of a folder gone."""

    def place(latch: Latch) -> None:
        function = shutil.rmtree

        def replaced(path: Any, *args: Any, **kwargs: Any) -> Any:
            if Path(path).name.startswith(name) and Path(path).is_dir() and latch.is_mine():
                files = sorted(file for file in Path(path).rglob("*") if file.is_file())
                for file in files[: len(files) // 2]:
                    file.unlink()
                die()
            return function(path, *args, **kwargs)

        shutil.rmtree = replaced  # type: ignore[assignment]

    return place


def beat(latch: Latch) -> None:
    """The first heartbeat, made to come before a short trial is over."""
    from finesweep.worker import trial

    trial.BEAT_EVERY_S = 0.1
    beating = lambda self: threading.current_thread() is self._thread  # noqa: E731
    before(trial.RunningTrial, "_write_heartbeat", beating)(latch)


def moved(source: str, target: str) -> Is:
    return lambda path, to: path.name.startswith(source) and Path(to).name.startswith(target)


def places() -> dict[str, Place]:
    """Every place by name, in the order in which a study comes to them."""
    import optuna
    import transformers
    from alembic.runtime.migration import HeadMaintainer

    from finesweep import tracking
    from finesweep.io import checkpoint
    from finesweep.study import cache, claiming, queue, records, studies
    from finesweep.study.patient_storage import PatientStorage
    from finesweep.tracking import store
    from finesweep.worker import finish, paused, trial

    concluding: Is = lambda self, study_id, attrs: attrs.get(records.StudyRecord.conclusion.key)  # noqa: E731
    signing: Is = lambda self, trial_id, attrs, *_, **__: records.TrialRecord.owner.key in attrs  # noqa: E731
    of_parent: Is = lambda self, status: not self.client.get_run(self.run_id).data.tags.get("finesweep.trial")  # noqa: E731
    of_trial: Is = lambda self, status: not of_parent(self, status)  # noqa: E731
    return {
        # the command; both stores say with it that a step of theirs is done
        "stores half made": before(HeadMaintainer, "update_to_step"),
        "study made": after(studies, "create"),
        # taking a trial
        "before ask": before(claiming, "_claim_suggestion"),
        "in ask": after(cache.TrialCache, "create_new_trial"),
        "unsigned": before(PatientStorage, "write", signing),
        "half suggested": after(optuna.Trial, "suggest_float"),
        "taken": after(queue.TrialQueue, "next_trial", returned=lambda trial: trial is not None),
        "first beat": beat,
        "adopted": after(Path, "rename", moved("training", "training")),
        # opening its run
        "run unmade": before(
            store.PatientClient, "create_run", lambda *_, tags, **__: "finesweep.trial" in tags
        ),
        "run unnoted": before(trial.RunningTrial, "started"),
        # training
        "checkpoint half written": before(transformers.Trainer, "_save_optimizer_and_scheduler"),
        "checkpoint unnamed": before(Path, "rename", moved(".staging-", "step-")),
        "checkpoint named": after(Path, "rename", moved(".staging-", "step-")),
        "before removal": before(checkpoint, "keep_only"),
        "half removed": half_removed("step-"),
        "unpublished": before(Path, "rename", moved(".staging-", "checkpoint")),
        "published": after(checkpoint, "publish"),
        "training half removed": half_removed("training"),
        # ending it
        "before sign-off": before(queue.TrialQueue, "sign_off"),
        "signed off": after(queue.TrialQueue, "sign_off"),
        "half closed": before(tracking.TrackedRun, "close", of_trial),
        "closed": after(tracking.TrackedRun, "close", of_trial),
        "in tell": before(optuna.Study, "tell"),
        "told": after(queue.TrialQueue, "tell"),
        # recovering one
        "half recovered": after(tracking, "close_trial_runs"),
        "requeued": after(optuna.Study, "enqueue_trial"),
        # finishing
        "before artifacts": before(finish, "_keep_models"),
        "half the artifacts": after(tracking.TrackedRun, "log_model"),
        "artifacts": after(finish, "_keep_models"),
        "submitted": after(finish, "_submit"),
        "concluded": after(cache.TrialCache, "set_study_user_attrs", concluding),
        "parent closed": after(tracking.TrackedRun, "close", of_parent),
        # pruning and confirming, where they are asked for
        "pruned": after(
            queue.TrialQueue, "sign_off", lambda self, number, outcome: outcome.state == "PRUNED"
        ),
        "confirmation taken": after(claiming.confirm, "add_confirmation"),
        # pausing, where it is asked for
        "paused": after(
            queue.TrialQueue, "sign_off", lambda self, number, outcome: outcome.state == "PAUSED"
        ),
        "before promotion": before(claiming, "add_continuation"),
        "promoted": after(claiming, "add_continuation"),
        "given up": after(paused, "_note", returned=bool),
    }


EVERY = "every"  # in place of a name: nobody dies, and LATCH is a folder that gets a file for each place

# Not at any time: while there are no stores yet, after a death, when the search is over; not in every study.
CREATION = ("stores half made",)
RECOVERY = ("adopted", "half recovered", "requeued")
FINISH = ("before artifacts", "half the artifacts", "artifacts", "submitted", "concluded", "parent closed")
CONFIRMATION = ("confirmation taken",)
PRUNING = ("pruned",)
PAUSING = ("paused", "before promotion", "promoted", "given up")
# How often a process comes there, where it is not once or twice.
ONCE = ("study made", *PAUSING, *RECOVERY, *(name for name in FINISH if name != "half the artifacts"))
OFTEN = {"checkpoint half written": 4, "checkpoint unnamed": 4, "checkpoint named": 4, "before removal": 4,
         "stores half made": 20}  # fmt: skip


def main() -> None:
    name, passage, latch, *arguments = sys.argv[1:]
    if name == EVERY:
        for one, place in places().items():
            place(Note(0, Path(latch, one)))
    else:
        places()[name](Latch(int(passage), Path(latch)))
    sys.argv = [str(ROOT / "train.py"), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
