"""Trains a recorded run again, as an ordinary run that is linked to the original."""

import json
import math
import os
import shutil
import sys
import time
from pathlib import Path

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import OutputError
from finesweep.hooks import RunState, TrialPruned, current_hooks
from finesweep.reproduce.rebuild import predicts
from finesweep.reproduce.recorded_run import RecordedRun, load_recorded_run
from finesweep.reproduce.verdict import Verdict
from finesweep.tags import Kind, Tag

OUTPUTS = Path("outputs/reproductions")


class Reproduction:
    """`finesweep.hooks.RunHooks` of a run that repeats a recorded one."""

    stopping = False

    def __init__(self, recorded: RecordedRun, kind: str, predict: bool) -> None:
        self.recorded, self.predicts, self.kind = recorded, predict, kind
        self.run_id = ""
        self._evaluations = 0
        self._then = [
            value for (name, _), value in sorted(recorded.history.items()) if name == recorded.metric
        ]

    @property
    def run_name(self) -> str:
        return f"{self.kind}-{self.recorded.name}"

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(name.removeprefix("eval_") for name, _ in self.recorded.history)

    @property
    def tags(self) -> dict[str, str]:
        linked = {Tag.KIND: self.kind, Tag.REPRODUCES: self.recorded.run_id}
        # MLflow's UI then shows it under the original; a run of another store it could not show.
        return linked | ({} if self.recorded.folder else {Tag.PARENT_RUN_ID: self.recorded.run_id})

    def check(self) -> None: ...

    def started(self, run_id: str) -> None:
        self.run_id = run_id

    def progress(self, **fields: float | str) -> None: ...

    def evaluated(self, value: float, progress: float) -> None:
        """Raises: TrialPruned where the original was."""
        self._evaluations += 1
        then = self._then[self._evaluations - 1] if self._evaluations <= len(self._then) else math.nan
        told = f"{self.recorded.metric} {value:.6g}, then {then:.6g}"
        print(f"{progress:4.0%} trained: {told}", file=sys.stderr, flush=True)
        repeats = self.kind == Kind.REPRODUCTION and self.recorded.state == RunState.PRUNED
        if repeats and self._evaluations == len(self._then):
            raise TrialPruned

    def trained(self, value: float, metrics: dict[str, float], checkpoint: str) -> None: ...

    def ending(self, state: RunState, error: BaseException | None) -> RunState:
        return state


def rerun(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], kind: str = Kind.REPRODUCTION
) -> RecordedRun:
    """Trains, as `kind` reproduction or reseed, and returns the record, also of one that diverges.

    Raises what else `run` raises.
    """
    from finesweep.training.run import run

    scored = predicts(recorded.record) or any(name.startswith("final_") for name, _ in recorded.history)
    trial = Reproduction(recorded, kind, kind == Kind.REPRODUCTION and scored)
    folder = OUTPUTS / recorded.run_id / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = "start it where you can write, and say where the run is: --tracking-uri"
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); {where}") from error
    token = current_hooks.set(trial)
    try:
        run(config, folder.resolve(), [*recorded.record.overrides, *overrides])
    except (TrialPruned, ArithmeticError):
        pass  # its state says so
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)  # nothing goes on from its checkpoints
        raise
    finally:
        current_hooks.reset(token)
    if kind == Kind.RESEED:
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # only its value is wanted
    return load_recorded_run(trial.run_id, config.tracking)


def record_verdict(found: Verdict, tracking: TrackingConfig) -> None:
    """On the new run: the whole verdict as an artifact, its essence as tags and as the UI's description."""
    from finesweep.tracking import TrackedRun, open_store

    tracked = TrackedRun(open_store(tracking), found.reproduction_run_id)
    tracked.log_text(json.dumps(found.to_dict(), indent=1) + "\n", "reproduction.json")
    tags = {Tag.VERDICT: found.verdict}
    note = f"Reproduction of run {found.run_id}: **{found.verdict}**"
    if found.cause:
        tags[Tag.CAUSE] = found.cause
        note += f". Likely cause: {found.cause}"
    tracked.set_tags(tags | {Tag.NOTE: note})
