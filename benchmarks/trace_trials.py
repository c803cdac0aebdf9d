"""Traces the trials of a sweep: where a warm trial's time goes, beside its training. Prints JSON.

    python benchmarks/trace_trials.py TRIALS

A sweep of tiny trials runs in this process (`hydra/launcher=basic`). Each part is the CPU seconds of the main
thread within some functions, without those within other parts. The first two trials are left out, which
still import. `beside training` is all but `training` and `evaluation`; `wall` is the whole trial by the
clock.
"""

import importlib
import json
import os
import runpy
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 2
# Part -> functions, as module:name.
PARTS = {
    "beside all parts": ["finesweep.worker.worker:Worker.run_trial"],
    "taking a trial": ["finesweep.worker.worker:Worker._next"],
    "composing": ["finesweep.worker.jobs:TrialJobs._compose"],
    "hydra's job": ["finesweep.worker.jobs:run_job"],
    "redacting files": ["finesweep.io.job_secrets:protect"],
    "parsing": ["finesweep.config.parse:parse_config"],
    "checking": ["finesweep.training.preflight:check"],
    "inputs": ["finesweep.training.run:load_inputs"],
    "provenance": ["finesweep.training.recording:collect"],
    "tracking": ["finesweep.tracking.tracked:TrackedRun._send", "finesweep.tracking.opening:start_run"],
    "study": [
        "finesweep.study.queue:TrialQueue.sign_off", "finesweep.study.queue:TrialQueue.tell",
        "finesweep.study.records:TrialRecord.write", "optuna:Trial.report",
    ],
    "retention": ["finesweep.worker.worker:drop_losers"],
    "model": ["finesweep.training.fit:load_model"],
    "trainer": ["finesweep.training.fit:build_trainer"],
    "training": ["transformers:Trainer._run_epoch"],
    "evaluation": ["transformers:Trainer.evaluate"],
    "around the loop": ["finesweep.training.fit:train"],
    "garbage": ["gc:collect"],
    "checkpoints": ["transformers:Trainer._save_checkpoint", "finesweep.io.checkpoint:publish"],
    "hashing weights": ["finesweep.io.checkpoint:weights_sha256"],
}  # fmt: skip


class Clock:
    """Adds up seconds by trial and part; a part that is entered within another one stops that one's clock."""

    def __init__(self) -> None:
        self.trials: list[defaultdict[str, float]] = [defaultdict(float)]
        self.within: list[str] = []
        self.since = 0.0

    def switch(self) -> None:
        now = time.thread_time()
        if self.within:
            self.trials[-1][self.within[-1]] += now - self.since
        self.since = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():  # heartbeats
                return function(*args, **kwargs)
            self.switch()
            self.within.append(part)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self.within.pop()
                if part == "beside all parts":
                    self.trials[-1]["wall"] = time.perf_counter() - began
                    self.trials.append(defaultdict(float))

        return replaced


def watch(clock: Clock) -> None:
    for part, places in PARTS.items():
        for place in places:
            module, _, path = place.partition(":")
            owner: Any = importlib.import_module(module)
            *owners, name = path.split(".")
            for attribute in owners:
                owner = getattr(owner, attribute)
            setattr(owner, name, clock.timed(part, getattr(owner, name)))


def run(trials: int) -> None:
    points = ",".join(f"{1 + index}e-4" for index in range(trials))
    sys.argv = [
        "train.py", "-m", "hydra/launcher=basic", "hydra.sweeper.study.sampler=grid", "data.demo_rows=200",
        "trainer.num_train_epochs=1", "trainer.per_device_train_batch_size=32", "trainer.threads=1",
        "predict=false", f"optimizer.learning_rate={points}",
    ]  # fmt: skip
    try:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    except SystemExit as end:
        assert not end.code, "the sweep failed"


def warm_trials(trials: int) -> list[dict[str, float]]:
    """Returns the seconds of each part, for each warm trial."""
    sys.path.insert(0, str(ROOT))
    clock = Clock()
    watch(clock)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(trials + WARM_UP)
    warm = clock.trials[WARM_UP : trials + WARM_UP]
    for trial in warm:
        beside = (part for part in trial if part not in ("wall", "training", "evaluation"))
        trial["beside training"] = sum(trial[part] for part in beside)
    return [{part: trial[part] for part in [*PARTS, "beside training", "wall"]} for trial in warm]


if __name__ == "__main__":
    print(json.dumps(warm_trials(int(sys.argv[1]))))
