"""Loads a recorded run from the MLflow store, or from a folder that `finesweep export` wrote."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finesweep.config.run import TrackingConfig, metric_key
from finesweep.errors import ModelError, RunError, first_line
from finesweep.hooks import RunState
from finesweep.io.reading import read_object, read_text
from finesweep.io.redaction import redact_urls
from finesweep.provenance.conversion import load
from finesweep.provenance.fields import Change
from finesweep.provenance.record import FILE, Provenance, history_hash, is_result
from finesweep.tags import OWN_PREFIX, Kind, Tag

# Names in an exported folder.
RUN_FILE = "run.json"  # the tags and metrics of the run in the MLflow store
CONFIG = "run"  # a config named `config` would hide the project's own
RUN_ID = re.compile("[0-9a-f]{32}")  # checked, because the id becomes the name of a folder
FINISHED = (RunState.COMPLETE, RunState.PRUNED, RunState.PAUSED)
History = dict[tuple[str, int], float]  # metric, step -> value


@dataclass(frozen=True)
class RecordedRun:
    """A run that was made before: its record, its tags and its metrics."""

    run_id: str
    name: str
    state: str  # COMPLETE, PRUNED, PAUSED, INTERRUPTED, FAIL; empty while it runs
    tags: dict[str, str]
    record: Provenance
    history: History
    folder: Path | None = None  # where it was exported to

    @property
    def error(self) -> str | None:
        return self.tags.get(Tag.ERROR)

    @property
    def metric(self) -> str:
        return f"eval_{metric_key(self.record.config['data']['metric'])}"

    @property
    def value(self) -> float | None:
        """The value of `data.metric` at the best evaluation; None for a run that was pruned."""
        return next((value for (name, _), value in self.history.items() if name == "best_value"), None)

    def check_finished(self) -> None:
        """Raises: RunError for a run that is not finished, or has no results to compare with."""
        if self.state not in FINISHED:
            words = {"": "still running, or killed", RunState.FAIL: "failed"}
            state = words.get(self.state, self.state.lower())
            raise RunError(
                f"run {self.run_id}: not finished ({state}); legal: a run that is complete, pruned or paused"
            )
        if not self.record.has_results:
            raise RunError(f"run {self.run_id}: its {FILE} holds no results")

    def to_json(self) -> str:
        """Returns the content of `RUN_FILE`."""
        metrics = [{"name": n, "step": s, "value": v} for (n, s), v in sorted(self.history.items())]
        kept = {"run_id": self.run_id, "name": self.name, "state": self.state, "tags": self.tags}
        return json.dumps(kept | {"metrics": metrics}, indent=1) + "\n"


@dataclass(frozen=True)
class _RunFile:
    """The content of `RUN_FILE`."""

    run_id: str
    name: str
    state: str
    tags: dict[str, str]
    metrics: list[dict[str, Any]]  # name, step, value


def load_recorded_run(where: str, tracking: TrackingConfig) -> RecordedRun:
    """Loads a run; `where` is its id or an exported folder. Raises: RunError, ConfigError."""
    folder = Path(where)
    return _from_folder(folder) if folder.is_dir() else _from_store(where, tracking)


def store_differences(recorded: RecordedRun) -> list[Change]:
    """Returns a change if the metrics in the store are no longer those that the run logged."""
    then, now = recorded.record.results.metrics_sha256, history_hash(recorded.history)
    return [] if then == now else [Change("results", "metrics in the store", then, now)]


def _from_store(run_id: str, tracking: TrackingConfig) -> RecordedRun:
    from finesweep.tracking import TrackedRun, find_run, open_reader, read_history

    run = find_run(tracking, run_id)
    run_id = run.info.run_id  # what was given may be its beginning
    tags = {key: value for key, value in run.data.tags.items() if key.startswith(OWN_PREFIX)}
    _check_trained(run_id, tags)
    tracked = TrackedRun(open_reader(tracking), run_id)
    try:
        text = tracked.read_text(FILE)
    except ModelError as error:
        raise RunError(f"run {run_id}: {_why_unread(tags, str(run.info.artifact_uri), error)}") from error
    record = Provenance.from_json(text, f"run {run_id}: {FILE}")
    state = tags.get(Tag.STATE, "")
    names = record.results.metrics  # other metrics in the store were logged later, by others
    if names is None:  # the run failed
        names = list(filter(is_result, run.data.metrics))
    history = read_history(tracked.client, run_id, names)
    return RecordedRun(run_id, str(run.info.run_name), state, tags, record, history)


def _why_unread(tags: dict[str, str], artifacts: str, error: ModelError) -> str:
    """Says why a run's provenance cannot be read, and what to do."""
    if Tag.TORCH not in tags:  # which is set once the file is there
        return f"it has no {FILE}: it failed before it trained, or is of an older finesweep"
    return (
        f"its {FILE} cannot be read from {redact_urls(artifacts)}, where the store says it "
        f"is ({first_line(error.__cause__ or error)}); bring its artifacts back there"
    )


def _check_trained(run_id: str, tags: dict[str, str]) -> None:
    """Raises: RunError for a run without a training of its own: a study's parent, or a reused value."""
    study = tags.get(Tag.STUDY)
    if tags.get(Tag.KIND) == Kind.STUDY:
        raise RunError(
            f"run {run_id}: the parent of study {study!r}, which did not train; "
            f"legal: --best {shlex.quote(str(study))}"
        )
    if Tag.REUSED_OF in tags:
        twin = tags[Tag.REUSED_OF]
        raise RunError(
            f"run {run_id}: it did not train, but took its value from trial {twin} of study {study!r}; "
            "legal: the id of that trial's run"
        )


def _from_folder(folder: Path) -> RecordedRun:
    try:
        stored = load(_RunFile, read_object(folder / RUN_FILE))
        text = read_text(folder / FILE)
        history = {(str(row["name"]), int(row["step"])): float(row["value"]) for row in stored.metrics}
        if not RUN_ID.fullmatch(stored.run_id):
            raise ValueError(f"run_id: got {stored.run_id!r}")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise RunError(f"{folder}: no folder that `finesweep export` made ({error})") from error
    run = stored.run_id, stored.name, stored.state, stored.tags
    recorded = RecordedRun(*run, Provenance.from_json(text, str(folder / FILE)), history, folder)
    if recorded.record.has_results and store_differences(recorded):
        raise RunError(f"{folder / RUN_FILE}: its metrics are not those that {FILE} was written for")
    return recorded
