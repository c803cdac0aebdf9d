"""Where a study stands, read from its stores and folders; and what is wrong with one that is over."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from finesweep.study.budget import budgets
from finesweep.study.liveness import is_gone
from finesweep.study.pausing import Pausing, each_once
from finesweep.study.places import Places
from finesweep.study.records import Conclusion, StudyRecord, TrialRecord
from finesweep.study.rungs import Rungs
from finesweep.study.selection import FINISHED, searching
from finesweep.tracking.models import find_model

# Optuna's state -> the MLflow statuses and the tag finesweep.state that go with it.
AGREE = {
    "COMPLETE": [("FINISHED", "COMPLETE")],
    "PRUNED": [("KILLED", "PRUNED"), ("KILLED", "PAUSED")],
    "FAIL": [("KILLED", "INTERRUPTED"), ("FAILED", "FAIL")],
}
TIMED = ("runtime", "per_second")


@dataclass
class SweepAftermath:
    folder: Path
    trials: list[FrozenTrial] = field(default_factory=list)
    conclusion: Conclusion | None = None
    tracking: str | None = None  # MLflow's store; the one in the folder
    rungs: Rungs | None = None  # of a study whose trials pause

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.tracking or f"sqlite:///{self.folder}/mlruns/mlflow.db")

    @property
    def exists(self) -> bool:
        return (self.folder / "mlruns").exists()

    @property
    def search(self) -> list[FrozenTrial]:
        return searching(self.trials)

    @property
    def finished(self) -> list[FrozenTrial]:
        """Each point once: a paused trial from which another one went on is left out."""
        return [trial for trial in each_once(self.search) if trial.state in FINISHED]

    @property
    def lost(self) -> list[FrozenTrial]:
        """RUNNING, but their workers are gone."""
        return [
            trial for trial in self.trials
            if trial.state is TrialState.RUNNING and is_gone(TrialRecord(trial).owner, None, 0.0)
        ]  # fmt: skip

    @property
    def adoptable(self) -> list[FrozenTrial]:
        """Neither finished nor tried again, and their training has something to go on from."""
        return [
            trial for trial in self.trials
            if trial.state not in FINISHED and any(self.of(trial).glob("training/step-*"))
        ]  # fmt: skip

    def is_over(self, n_trials: int) -> bool:
        return len(self.finished) >= n_trials and self.conclusion is not None

    def of(self, trial: FrozenTrial) -> Path:
        return self.place(TrialRecord(trial).folder or f"../no-folder-{trial.number}")

    def place(self, recorded: str) -> Path:
        return Places(f"sqlite:///{self.folder}/mlruns/optuna.db", self.folder).find(recorded)

    @cached_property
    def runs(self) -> list[Run]:
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(experiments, max_results=5000))

    @property
    def parents(self) -> list[Run]:
        return [run for run in self.runs if run.data.tags.get("finesweep.kind") == "study"]

    @property
    def children(self) -> list[Run]:
        return [run for run in self.runs if "finesweep.trial" in run.data.tags]

    @cached_property
    def results(self) -> dict[int, dict[str, Any]]:
        """What each finished suggestion came to, by its ordinal; for a pruned one, its point."""
        return {TrialRecord(trial).ordinal: self._result(trial) for trial in self.finished}

    def _result(self, trial: FrozenTrial) -> dict[str, Any]:
        if trial.state is TrialState.PRUNED:
            return {"params": trial.params}
        weights = self.of(trial) / "checkpoint" / "model.safetensors"
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None
        tracked = next((run.data.metrics for run in self.children if _number(run) == trial.number), {})
        metrics = {f"metric {key}": value for key, value in tracked.items() if not key.endswith(TIMED)}
        return {"params": trial.params, "value": trial.value, "weights": sha256} | metrics

    def numbers(self, undisturbed: "SweepAftermath", n_trials: int) -> dict[str, Any]:
        counts = Counter(TrialRecord(trial).ordinal for trial in self.finished)
        complete = {key: result for key, result in self.results.items() if "weights" in result}
        wanted = {key: undisturbed.results.get(key, {}) for key in complete}
        failed = [trial for trial in self.trials if trial.state is TrialState.FAIL]
        confirmed = [trial for trial in self.trials if TrialRecord(trial).confirms is not None]
        return {
            "trials": len(self.trials),
            "states": dict(Counter(trial.state.name for trial in self.trials)),
            "retries": sum(TrialRecord(trial).retry_of is not None for trial in self.trials),
            "lost": sum(not counts[ordinal] for ordinal in range(n_trials)),
            "duplicates": sum(count - 1 for count in counts.values()),
            "promotions": sum(TrialRecord(trial).continues is not None for trial in self.trials),
            "confirmations": sum(trial.state is TrialState.COMPLETE for trial in confirmed),
            "compared": len(complete),
            "weights_equal": sum(complete[key]["weights"] == wanted[key].get("weights") for key in complete),
            "tracked_whole": sum(complete[key].keys() == wanted[key].keys() for key in complete),
            "weights_of_lost_tries": sum(any(self.of(t).rglob("model.safetensors")) for t in failed),
        }


def read(
    folder: Path, name: str = "campaign", storage: str | None = None, tracking: str | None = None
) -> SweepAftermath:
    """Reads a study; from the stores in its folder, or from these."""
    file = folder / "mlruns" / "optuna.db"
    if storage is None and not _has_study(file, name):
        return SweepAftermath(folder)
    opened = RDBStorage(
        storage or f"sqlite:///{file}", skip_compatibility_check=True, skip_table_creation=True
    )
    try:
        study = optuna.load_study(study_name=name, storage=opened)
        record = StudyRecord(study)
        pausing = Pausing.of(study, budgets(record)) if record.history else None
        rungs = pausing.rungs if pausing else None
        return SweepAftermath(folder, study.get_trials(), record.conclusion, tracking, rungs)
    finally:
        opened.engine.dispose()


def _has_study(file: Path, name: str) -> bool:
    """Optuna would go on making a store that is half made, whoever is at it."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as connection:
            rows = connection.execute("SELECT 1 FROM studies WHERE study_name = ?", (name,))
            return rows.fetchone() is not None
    except sqlite3.OperationalError:  # no file, no table
        return False


def problems(
    aftermath: SweepAftermath, undisturbed: SweepAftermath, n_trials: int, confirmations: int = 0
) -> list[str]:
    return [
        *_planned(aftermath, n_trials, confirmations),
        *_nothing_open(aftermath),
        *_stores_agree(aftermath),
        *_lineage(aftermath),
        *_promotions(aftermath),
        *_as_undisturbed(aftermath, undisturbed),
        *_conclusion(aftermath),
        *_leftovers(aftermath),
    ]


def _planned(aftermath: SweepAftermath, n_trials: int, confirmations: int) -> Iterator[str]:
    counts = Counter(TrialRecord(trial).ordinal for trial in aftermath.finished)
    if counts != Counter(range(n_trials)):
        yield f"suggestions that finished, and how often: {dict(counts)}, not each of {n_trials} once"
    tried = Counter(
        (TrialRecord(trial).confirms, TrialRecord(trial).seed)
        for trial in aftermath.trials
        if TrialRecord(trial).confirms is not None and trial.state is TrialState.COMPLETE
    )  # fmt: skip
    if len(tried) != confirmations or set(tried.values()) - {1}:
        yield f"confirmations that are complete: {dict(tried)}, not {confirmations} once"


def _nothing_open(aftermath: SweepAftermath) -> Iterator[str]:
    for trial in aftermath.trials:
        if not trial.state.is_finished():
            yield f"trial {trial.number} is {trial.state.name}"
        if trial.state is TrialState.FAIL and TrialRecord(trial).error is not None:
            yield f"trial {trial.number} failed: {TrialRecord(trial).error}"
    for run in aftermath.runs:
        if run.info.status not in ("FINISHED", "KILLED", "FAILED"):
            yield f"run {run.info.run_name} is {run.info.status}"


def _stores_agree(aftermath: SweepAftermath) -> Iterator[str]:
    numbers = Counter(map(_number, aftermath.children))
    for number, count in numbers.items():
        if count > 1 or number >= len(aftermath.trials):
            yield f"{count} runs say that they are trial {number}"
    runs = {_number(run): run for run in aftermath.children}
    for trial in aftermath.trials:
        run = runs.get(trial.number)
        if run is None:
            if trial.state in FINISHED or TrialRecord(trial).run_id is not None:
                yield f"trial {trial.number} is {trial.state.name} and has no run"
            continue
        found = (run.info.status, run.data.tags.get("finesweep.state"))
        if found not in AGREE.get(trial.state.name, []):
            yield f"trial {trial.number} is {trial.state.name} in Optuna and {found} in MLflow"
        outcome = TrialRecord(trial).outcome
        if trial.state is TrialState.PRUNED and outcome and found[1] != outcome.state:
            yield f"trial {trial.number} ended as {outcome.state}, its run says {found[1]}"
        if TrialRecord(trial).run_id not in (None, run.info.run_id):
            yield f"trial {trial.number} names another run than the one that names it"
        if trial.state is TrialState.COMPLETE and run.data.metrics.get("best_value") != trial.value:
            tracked = run.data.metrics.get("best_value")
            yield f"trial {trial.number}: {trial.value} in Optuna, {tracked} in MLflow"


def _lineage(aftermath: SweepAftermath) -> Iterator[str]:
    (parent, *more) = aftermath.parents or [None]
    if parent is None or more:
        yield f"{len(aftermath.parents)} parent runs"
    for run in aftermath.children:
        if parent and run.data.tags.get("mlflow.parentRunId") != parent.info.run_id:
            yield f"run {run.info.run_name} has another parent"
        attr = TrialRecord(aftermath.trials[_number(run)]).retry_of
        if (tag := run.data.tags.get("finesweep.retry_of")) != (None if attr is None else str(attr)):
            yield f"trial {_number(run)} tries {attr} again, its run says {tag}"
    retried = Counter(TrialRecord(trial).retry_of for trial in aftermath.trials)
    for trial in aftermath.trials:
        wanted = int(trial.state is TrialState.FAIL and TrialRecord(trial).error is None)
        if retried[trial.number] != wanted:
            again = f"and was tried again {retried[trial.number]} times"
            yield f"trial {trial.number} is {trial.state.name} {again}"


def _promotions(aftermath: SweepAftermath) -> Iterator[str]:
    """A paused trial goes on once or never, as the same point, and none is left that deserved it."""
    runs = {_number(run): run for run in aftermath.children}
    times = Counter(TrialRecord(trial).continues for trial in aftermath.trials)
    for trial in aftermath.trials:
        record, number = TrialRecord(trial), TrialRecord(trial).continues
        if times[trial.number] > (1 if record.is_paused else 0):
            yield f"trial {trial.number} is {trial.state.name}, and went on {times[trial.number]} times"
        if number is None:
            continue
        paused = aftermath.trials[number]
        if (record.ordinal, trial.params) != (TrialRecord(paused).ordinal, paused.params):
            yield f"trial {trial.number} continues trial {number}, but is another point"
        tag = runs[trial.number].data.tags.get("finesweep.continues") if trial.number in runs else str(number)
        if tag != str(number):
            yield f"trial {trial.number} continues trial {number}, its run says {tag}"
    if aftermath.rungs:
        left = aftermath.rungs.to_promote(Pausing(aftermath.rungs, ()).points(aftermath.trials))
        if left:
            yield f"suggestion {left.number} is among the best of its rung, and did not go on"


def _as_undisturbed(aftermath: SweepAftermath, undisturbed: SweepAftermath) -> Iterator[str]:
    for ordinal, result in sorted(aftermath.results.items()):
        wanted = undisturbed.results.get(ordinal, {})
        other = [key for key in result if key in wanted and result[key] != wanted[key]]
        for key in other[:1] if "params" in other else other:  # another point has all else different too
            yield f"suggestion {ordinal}: {key} is {result[key]}, undisturbed {wanted[key]}"


def _conclusion(aftermath: SweepAftermath) -> Iterator[str]:
    concluded = aftermath.conclusion
    if concluded is None:
        yield "no conclusion"
        return
    for path in concluded.submissions or ["no submission"]:
        if not aftermath.place(path).is_file():
            yield f"submission: {path} is not there"
    client = aftermath.client
    for parent in aftermath.parents:
        logged = {file.path for file in client.list_artifacts(parent.info.run_id, "submission")}
        if not {"submission/test.tsv", "submission/source.json"} <= logged:
            yield f"submission: the parent run has only {logged}"
    for trial in aftermath.finished:  # all are among the best that are kept
        if trial.state is TrialState.COMPLETE and TrialRecord(trial).run_id is not None:
            model = find_model(client, client.get_run(str(TrialRecord(trial).run_id)))
            logged = (
                {file.path for file in client.list_logged_model_artifacts(model.model_id)} if model else set()
            )
            if not {"model.safetensors", "manifest.json", "MLmodel"} <= logged:
                yield f"trial {trial.number}: its run's checkpoint is {logged}"


def _leftovers(aftermath: SweepAftermath) -> Iterator[str]:
    for trial in aftermath.trials:
        folder, state = aftermath.of(trial), trial.state.name
        for path in (*folder.rglob(".staging-*"), *folder.glob("training")):
            yield f"trial {trial.number} is {state} and has {path.relative_to(folder)}"
        result = folder / "result.json"
        status = json.loads(result.read_text())["status"] if result.is_file() else "not there"
        if trial.state in FINISHED and status != AGREE[state][0][0]:
            yield f"trial {trial.number} is {state}, its result.json {status}"
        if trial.state not in FINISHED and status == "FINISHED":
            yield f"trial {trial.number} is {state}, its result.json {status}"
        if trial.state not in FINISHED and (folder / "checkpoint").exists():
            yield f"trial {trial.number} is {state} and has a checkpoint, which nothing will remove"


def _number(run: Run) -> int:
    return int(run.data.tags["finesweep.trial"])
