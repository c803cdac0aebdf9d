"""The whole pipeline of one run: loads, trains, evaluates, tracks and predicts."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from finesweep.config.parse import to_dict
from finesweep.config.places import within_project
from finesweep.config.run import RunConfig
from finesweep.hooks import RunHooks, RunState, TrialPruned, current_hooks
from finesweep.io import checkpoint
from finesweep.io.atomic import write_text
from finesweep.io.model_files import folder_hash
from finesweep.io.output import explaining_removal
from finesweep.machine import device
from finesweep.machine.fork_server import start_server
from finesweep.provenance import Provenance
from finesweep.provenance.fields import Results
from finesweep.tasks import Scorer, score_name
from finesweep.tracking import STATUSES, TrackedRun, open_run, state_of
from finesweep.training import process_group, recording
from finesweep.training.fit import fit
from finesweep.training.inputs import Inputs, load_inputs
from finesweep.training.predict import Predicted, score_and_predict
from finesweep.training.preflight import check_folders
from finesweep.training.resuming import find_problem
from finesweep.training.served import pipeline_of
from finesweep.training.trainer import Trained, noise_of
from finesweep.training.tryout import try_out

# The parts of the config that determine the weights.
TRAINED_FROM = ("model", "data", "optimizer", "trainer", "seed", "peft")
log = logging.getLogger(__name__)


@dataclass
class RunResult:
    """The content of `result.json`. Programs read it: fields may be added, but none removed or renamed."""

    run_id: str | None = None
    status: str = STATUSES[RunState.FAIL]  # FINISHED, FAILED or KILLED, as in MLflow
    metric: str = ""  # `data.metric`
    value: float | None = None  # of the best evaluation
    metrics: dict[str, float] = field(default_factory=dict)  # of the best evaluation, and the final ones
    checkpoint: str | None = None  # of the best evaluation; loads with `from_pretrained`
    submission: str | None = None  # the first of `submissions`
    submissions: list[str] = field(default_factory=list)

    def add_training(self, trained: Trained) -> None:
        self.value, self.metrics = trained.value, trained.metrics
        self.checkpoint = str(trained.checkpoint)

    def add_predictions(self, predicted: Predicted) -> None:
        self.metrics = self.metrics | predicted.metrics
        self.submissions = [str(path) for path in predicted.submissions]
        self.submission = next(iter(self.submissions), None)


def run(config: RunConfig, output_dir: Path, overrides: Sequence[str] = ()) -> RunResult:
    """Trains, tracks, and keeps the best checkpoint. Outside a sweep, it also predicts the test split.

    Side effects: writes under `output_dir` and `cache_dir`, and into the MLflow store. Bad input is refused
    before the MLflow run is opened. overrides: the command-line arguments, for the record.
    Raises: FinesweepError, TrialPruned, and whatever the training raises; `result.json` then has the status.
    DatabaseGone, after all is done, if the store was deleted meanwhile.
    """
    check_folders(config.tracking, output_dir)
    device.prepare(config.trainer)
    if config.trainer.num_processes > 1:
        start_server()  # it imports while the inputs are loaded here
    inputs = load_inputs(config)
    if hooks := current_hooks.get():
        rows = {name: split.sha256 for name, split in inputs.content.items()}
        hooks.loaded(rows, folder_hash(config.model.name_or_path))
    try_out(config, inputs)
    result = RunResult(metric=config.data.metric)
    opened = open_run(config, overrides)
    with _written(result, output_dir), opened as tracked, explaining_removal(output_dir):
        result.run_id = tracked.run_id
        record = recording.log_provenance(config, overrides, inputs, tracked)
        trial = current_hooks.get()
        predicts = trial is None or trial.predicts  # in a sweep, only the best trial does
        recording.log_inputs(config, inputs, tracked, predicts)
        try:
            trained = _train(config, inputs, output_dir, tracked, record)
        except TrialPruned:
            recording.log_results(record, tracked, Results(pruned=True))
            result.status = STATUSES[RunState.PRUNED]
            _write(result, output_dir)  # before the run is closed, like that of a whole training
            raise
        result.add_training(trained)
        _report(config, inputs, trained, tracked, trial)
        predictions = {"eval": trained.predictions}
        if predicts:
            predicted = score_and_predict(config, inputs, trained.checkpoint, output_dir, tracked)
            result.add_predictions(predicted)
            predictions |= predicted.hashes
        weights = checkpoint.weights_sha256(trained.checkpoint)
        recording.log_results(record, tracked, Results(weights_sha256=weights, predictions=predictions))
        result.status = STATUSES[RunState.COMPLETE]
        _write(result, output_dir)  # before the run is closed, so that every closed run has one
    if current_hooks.get() is None:  # a sweep looks by itself
        tracked.client.check_present(str(output_dir))
    return result


def _train(
    config: RunConfig, inputs: Inputs, output_dir: Path, tracked: TrackedRun, record: Provenance
) -> Trained:
    hooks, folder = current_hooks.get(), output_dir / "training"
    find = partial(find_problem, processes=config.trainer.num_processes)
    resume = checkpoint.resumable(folder, _training_identity(config), find)
    recording.keep_provenance(record, folder, resumes=resume is not None)
    if config.trainer.num_processes > 1:
        trained = process_group.train(config, inputs, folder, resume, tracked, hooks)
    else:
        metrics = hooks.metrics if hooks else ()
        trained = cast(Trained, fit(config, inputs, folder, resume, tracked, hooks, metrics))
    throughput = {key: value for key, value in trained.metrics.items() if key.startswith("train_")}
    tracked.log_metrics(throughput, step=trained.step)
    name = score_name(inputs.task, inputs.names)
    log.info("run %s: best %s %.4f at step %d", tracked.run_id, name, trained.value, trained.step)
    return trained


def _report(
    config: RunConfig, inputs: Inputs, trained: Trained, tracked: TrackedRun, trial: RunHooks | None
) -> None:
    """Reports the best evaluation to MLflow and to the trial; logs the checkpoint of a plain run."""
    tracked.log_metrics({"best_value": trained.value}, step=trained.step)
    if trial:
        scorer = Scorer(inputs.task, inputs.names)
        noise = noise_of(trained.checkpoint, scorer) if trial.wants_noise else None
        trial.trained(trained.value, trained.metrics, str(trained.checkpoint), noise)
    else:
        tracked.log_model(trained.checkpoint, pipeline_of(config))


def _training_identity(config: RunConfig) -> str:
    """Hashes the config that an interrupted training and the run that resumes it must share."""
    parts = {key: value for key, value in to_dict(within_project(config)).items() if key in TRAINED_FROM}
    del parts["data"]["submission"]  # how predictions are written; earlier versions had no such key
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _written(result: RunResult, output_dir: Path) -> Iterator[None]:
    """Writes `result.json` at the end of a run that was opened, also if it failed or was interrupted."""
    try:
        yield
    except BaseException as error:
        result.status = STATUSES[state_of(error)]
        raise
    finally:
        if result.run_id is not None:
            _write(result, output_dir)


def _write(result: RunResult, output_dir: Path) -> None:
    output_dir.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
    write_text(output_dir / "result.json", json.dumps(asdict(result), indent=2) + "\n")
