"""Trains a recorded run again, as a new run that is linked to the original."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import OutputError
from finesweep.hooks import Noise, RunState, TrialPruned, current_hooks
from finesweep.io.terminal import show
from finesweep.reproduce.rebuild import predicts
from finesweep.reproduce.recorded_run import RecordedRun, load_recorded_run
from finesweep.reproduce.verdict import Verdict
from finesweep.tags import Kind, Tag

OUTPUTS = Path("outputs/reproductions")


class Reproduction:
    """The hooks (`finesweep.hooks.RunHooks`) of a run that repeats a recorded one."""

    stopping = False

    def __init__(self, recorded: RecordedRun, kind: str, predict: bool) -> None:
        self.recorded, self.predicts, self.kind = recorded, predict, kind
        self.run_id = ""
        self._evaluations = 0
        self._values_then = [
            value for (name, _), value in sorted(recorded.history.items()) if name == recorded.metric
        ]

    @property
    def run_name(self) -> str:
        return f"{self.kind}-{self.recorded.name}"

    @property
    def wants_noise(self) -> bool:
        return False

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(name.removeprefix("eval_") for name, _ in self.recorded.history)

    @property
    def tags(self) -> dict[str, str]:
        linked = {Tag.KIND: self.kind, Tag.REPRODUCES: self.recorded.run_id}
        if self.recorded.folder:  # the original is in another store
            return linked
        return linked | {Tag.PARENT_RUN_ID: self.recorded.run_id}  # MLflow's UI shows it under the original

    def loaded(self, rows: Mapping[str, str], model: str | None) -> None: ...

    def unreadable(self, error: Exception) -> None: ...

    def check(self) -> None: ...

    def started(self, run_id: str) -> None:
        self.run_id = run_id

    def progress(self, **fields: float | str) -> None: ...

    def evaluated(self, value: float, progress: float) -> None:
        """Prints the value beside the recorded one. Raises: TrialPruned where the original was pruned."""
        self._evaluations += 1
        count = len(self._values_then)
        then = self._values_then[self._evaluations - 1] if self._evaluations <= count else math.nan
        values = f"{self.recorded.metric} {value:.6g}, then {then:.6g}"
        show(f"{progress:4.0%} trained: {values}", sys.stderr)
        is_pruned = self.kind == Kind.REPRODUCTION and self.recorded.state in (
            RunState.PRUNED,
            RunState.PAUSED,
        )
        if is_pruned and self._evaluations == count:
            raise TrialPruned

    def saved(self) -> None: ...

    def trained(
        self, value: float, metrics: dict[str, float], checkpoint: str, noise: Noise | None = None
    ) -> None: ...

    def ending(self, state: RunState, error: BaseException | None) -> RunState:
        return state


def rerun(
    recorded: RecordedRun, config: RunConfig, overrides: list[str], kind: str = Kind.REPRODUCTION,
    folder: Path | None = None,
) -> RecordedRun:  # fmt: skip
    """Trains the run again and loads the new run, also if it was pruned, or its loss diverged.

    kind: reproduction or reseed. folder: the one to train in; None: a `new_folder`. Side effects: those of
    `training.run`; the checkpoints of an interrupted run and of a reseed are deleted.
    Raises: OutputError, and what `run` raises.
    """
    hooks = Reproduction(recorded, kind, kind == Kind.REPRODUCTION and _predicted_or_scored(recorded))
    folder = folder or new_folder(recorded.run_id)
    try:
        _run(config, folder.resolve(), [*recorded.record.overrides, *overrides], hooks)
    except (TrialPruned, ArithmeticError):
        pass  # the new run's state says so
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)  # an interrupted reproduction is never resumed
        raise
    if kind == Kind.RESEED:
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return load_recorded_run(hooks.run_id, config.tracking)


def _predicted_or_scored(recorded: RecordedRun) -> bool:
    return predicts(recorded.record) or any(name.startswith("final_") for name, _ in recorded.history)


def new_folder(run_id: str) -> Path:
    """Makes an empty folder under `OUTPUTS` for a run that is made again. Raises: OutputError."""
    folder = OUTPUTS / run_id / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = "start the command in a folder that can be written, and name the store with --tracking-uri"
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); {advice}") from error
    return folder


def _run(config: RunConfig, folder: Path, overrides: list[str], hooks: Reproduction) -> None:
    from finesweep.training.run import run

    token = current_hooks.set(hooks)
    try:
        run(config, folder, overrides)
    finally:
        current_hooks.reset(token)


def record_verdict(verdict: Verdict, tracking: TrackingConfig) -> None:
    """Logs the verdict in the new run: whole as an artifact, in short as tags and as MLflow's description."""
    from finesweep.tracking import TrackedRun, open_store

    tracked = TrackedRun(open_store(tracking), verdict.reproduction_run_id)
    tracked.log_text(json.dumps(verdict.to_dict(), indent=1) + "\n", "reproduction.json")
    tags = {Tag.VERDICT: verdict.verdict}
    note = f"Reproduction of run {verdict.run_id}: **{verdict.verdict}**"
    if verdict.cause:
        tags[Tag.CAUSE] = verdict.cause
        note += f". Likely cause: {verdict.cause}"
    tracked.set_tags(tags)
    tracked.describe(note)
