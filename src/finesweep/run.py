"""One run, from config to a tracked, evaluated, predicted model: the whole pipeline on one screen."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from finesweep import checkpoint, device
from finesweep.config import RunConfig, to_dict
from finesweep.files import write_text
from finesweep.inputs import Inputs, load_inputs
from finesweep.metrics import metrics_for
from finesweep.model import load_model
from finesweep.observer import Observer
from finesweep.predict import score_and_predict
from finesweep.preflight import check_folders
from finesweep.provenance import FILE, Provenance, collect
from finesweep.provenance.code import find_checkout
from finesweep.provenance.differences import while_interrupted
from finesweep.provenance.record import results, tags
from finesweep.tracking import TrackedRun, open_run
from finesweep.training import Trained, build_trainer, steps_per_epoch, train
from finesweep.trial import TrialPruned, current_trial

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
        record = _log_provenance(config, overrides, inputs, tracked)
        try:
            trained = _train(config, inputs, output_dir, tracked, record)
        except TrialPruned:
            _log_results(record, tracked, {"pruned": True})
            raise
        result.value, result.metrics, result.checkpoint = (
            trained.value,
            trained.metrics,
            str(trained.checkpoint),
        )
        tracked.log_metrics({"best_value": trained.value}, step=trained.step)
        predictions = {"eval": trained.predictions}
        if trial := current_trial.get():
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
        _log_results(record, tracked, {"weights_sha256": weights, "predictions": predictions})
        result.status = "FINISHED"
        _write(result, output_dir)  # before the run is closed: what is closed has its result.json
    return result


def _log_provenance(
    config: RunConfig, overrides: Sequence[str], inputs: Inputs, tracked: TrackedRun
) -> Provenance:
    """What the run is made of and with, before it trains: a run that fails has it too."""
    record = collect(config, overrides, inputs)
    tracked.log_text(record.to_json(), FILE)
    tracked.log_text(record.constraints(), "constraints.txt")
    if patch := find_checkout().patch:
        tracked.log_text(patch, "git.diff")
    tracked.set_tags(tags(record))
    return record


def _log_results(record: Provenance, tracked: TrackedRun, found: dict[str, Any]) -> None:
    record.results = results(tracked.history, found)
    tracked.log_text(record.to_json(), FILE)
    tracked.set_tags(tags(record))


def _train(
    config: RunConfig, inputs: Inputs, output_dir: Path, tracked: TrackedRun, record: Provenance
) -> Trained:
    model = load_model(config.model, inputs.tokenizer, inputs.splits.labels, config.seed)
    observer = Observer(
        config,
        steps_per_epoch(config, len(inputs.train)),
        log=tracked,
        trial=current_trial.get(),
        objective=f"eval_{config.data.metric}",
    )
    compute_metrics = metrics_for(config.data, len(inputs.splits.labels or ["value"]))
    folder = output_dir / "training"
    trainer = build_trainer(config, model, inputs, compute_metrics, folder, observer)
    resume = checkpoint.claim(folder, _training_identity(config))
    _note_ground(record, folder / FILE)
    trained = train(trainer, observer, folder, resume)
    throughput = {key: value for key, value in trained.metrics.items() if key.startswith("train_")}
    tracked.log_metrics(throughput, step=trained.step)
    log.info(
        "run %s: best %s %.4f at step %d", tracked.run_id, config.data.metric, trained.value, trained.step
    )
    return trained


def _note_ground(record: Provenance, file: Path) -> None:
    """Leaves the record beside the checkpoints: whoever goes on from them says what has changed since."""
    if file.is_file():
        earlier = Provenance.from_json(file.read_text(encoding="utf-8"), str(file))
        record.mixed = while_interrupted(earlier, record)
    write_text(file, record.to_json())


def _training_identity(config: RunConfig) -> str:
    """What a cut-off training must share with the one that goes on from its checkpoints."""
    parts = {key: value for key, value in to_dict(config).items() if key in TRAINED_FROM}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _written(result: RunResult, output_dir: Path) -> Iterator[None]:
    """`result.json`, whatever happens."""
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
