"""One run, from config to a tracked, evaluated, predicted model: the whole pipeline on one screen."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from finesweep.config.parse import to_dict
from finesweep.config.run import RunConfig
from finesweep.hooks import TrialPruned, current_hooks
from finesweep.io import checkpoint
from finesweep.io.atomic import write_text
from finesweep.machine import device
from finesweep.provenance import Provenance
from finesweep.tasks import Scorer, score_name
from finesweep.tracking import TrackedRun, open_run
from finesweep.training import recording
from finesweep.training.callback import TrainingCallback
from finesweep.training.inputs import Inputs, load_inputs
from finesweep.training.model import load_model
from finesweep.training.predict import score_and_predict
from finesweep.training.preflight import check_folders
from finesweep.training.trainer import Trained, build_trainer, steps_per_epoch, train

TRAINED_FROM = ("model", "data", "optimizer", "trainer", "seed")
log = logging.getLogger(__name__)


@dataclass
class RunResult:
    """What `result.json` holds; fields may be added, these stay."""

    run_id: str | None = None
    status: str = "FAILED"  # FINISHED, FAILED or KILLED, as in MLflow
    metric: str = ""
    value: float | None = None  # of the best evaluation
    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: str | None = None  # of the best evaluation; loads with `from_pretrained`
    submission: str | None = None  # the first of `submissions`
    submissions: list[str] = field(default_factory=list)


def run(config: RunConfig, output_dir: Path, overrides: Sequence[str] = ()) -> RunResult:
    """Trains, tracks, and keeps the best checkpoint; outside a sweep it also predicts the test split.

    Everything is written under `output_dir` and into the MLflow store. Bad input is refused before the run is
    opened.
    Raises: FinesweepError, TrialPruned, and whatever the training raises; `result.json` then says so.
    """
    check_folders(config.tracking, output_dir)
    device.prepare(config.trainer)
    inputs = load_inputs(config)
    result = RunResult(metric=config.data.metric)
    with _written(result, output_dir), open_run(config, overrides) as tracked:
        result.run_id = tracked.run_id
        record = recording.log_provenance(config, overrides, inputs, tracked)
        try:
            trained = _train(config, inputs, output_dir, tracked, record)
        except TrialPruned:
            recording.log_results(record, tracked, {"pruned": True})
            raise
        result.value, result.metrics, result.checkpoint = (
            trained.value,
            trained.metrics,
            str(trained.checkpoint),
        )
        tracked.log_metrics({"best_value": trained.value}, step=trained.step)
        predictions = {"eval": trained.predictions}
        if trial := current_hooks.get():
            trial.trained(trained.value, trained.metrics, str(trained.checkpoint))
        else:
            tracked.log_folder(trained.checkpoint, "checkpoint")
        if trial is None or trial.predicts:  # a sweep predicts with its best trial only
            predicted = score_and_predict(config, inputs, trained.checkpoint, output_dir, tracked)
            result.metrics |= predicted.metrics
            result.submissions = [str(path) for path in predicted.submissions]
            result.submission = next(iter(result.submissions), None)
            predictions |= predicted.hashes
        weights = checkpoint.weights_sha256(trained.checkpoint)
        recording.log_results(record, tracked, {"weights_sha256": weights, "predictions": predictions})
        result.status = "FINISHED"
        _write(result, output_dir)  # before the run is closed: what is closed has its result.json
    return result


def _train(
    config: RunConfig, inputs: Inputs, output_dir: Path, tracked: TrackedRun, record: Provenance
) -> Trained:
    model = load_model(config.model, inputs.tokenizer, inputs.task, inputs.names, config.seed)
    hooks = current_hooks.get()
    scorer = Scorer(inputs.task, inputs.names, hooks.metrics if hooks else ())
    callback = TrainingCallback(config, scorer, steps_per_epoch(config, len(inputs.train)), tracked, hooks)
    folder = output_dir / "training"
    trainer = build_trainer(config, model, inputs, folder, callback)
    resume = checkpoint.resumable(folder, _training_identity(config))
    recording.keep_provenance(record, folder, resumes=resume is not None)
    trained = train(trainer, callback, folder, resume)
    throughput = {key: value for key, value in trained.metrics.items() if key.startswith("train_")}
    tracked.log_metrics(throughput, step=trained.step)
    name = score_name(inputs.task, inputs.names)
    log.info("run %s: best %s %.4f at step %d", tracked.run_id, name, trained.value, trained.step)
    return trained


def _training_identity(config: RunConfig) -> str:
    """Hashes what a cut-off training must share with the run that goes on from its checkpoints."""
    parts = {key: value for key, value in to_dict(config).items() if key in TRAINED_FROM}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _written(result: RunResult, output_dir: Path) -> Iterator[None]:
    """Writes `result.json`, whatever happens."""
    try:
        yield
    except (TrialPruned, KeyboardInterrupt, SystemExit):
        result.status = "KILLED"
        raise
    except BaseException:
        result.status = "FAILED"
        raise
    finally:
        _write(result, output_dir)


def _write(result: RunResult, output_dir: Path) -> None:
    write_text(output_dir / "result.json", json.dumps(asdict(result), indent=2) + "\n")
