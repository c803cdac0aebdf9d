"""Logs a run's provenance in MLflow: before training, with the results, and after a later final score."""

import logging
from collections.abc import Sequence
from pathlib import Path

from finesweep.config.places import as_given
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ConfigError, ModelError
from finesweep.io.atomic import write_text
from finesweep.io.reading import Unreadable, read_text
from finesweep.provenance import FILE, Provenance, collect
from finesweep.provenance.code import find_checkout
from finesweep.provenance.differences import changes_while_interrupted
from finesweep.provenance.fields import Results
from finesweep.provenance.record import tags, with_metrics
from finesweep.tracking import TrackedRun, read_history
from finesweep.training.data_inputs import data_inputs
from finesweep.training.inputs import Inputs
from finesweep.training.predict import Predicted

TRAINED_ON = ("train", "eval")  # splits that every trial reads
log = logging.getLogger(__name__)


def log_provenance(
    config: RunConfig, overrides: Sequence[str], inputs: Inputs, tracked: TrackedRun
) -> Provenance:
    """Logs the run's provenance before it trains, so that a run that fails has it too."""
    record = collect(config, overrides, inputs.content)
    tracked.log_text(record.to_json(), FILE)
    tracked.log_text(record.constraints(), "constraints.txt")
    if patch := find_checkout().patch:
        tracked.log_text(patch, "git.diff")
    tracked.set_tags(tags(record))
    return record


def log_inputs(config: RunConfig, inputs: Inputs, tracked: TrackedRun, predicts: bool) -> None:
    """Logs the data sets that the run reads. predicts: also those that the best checkpoint is for."""
    read = inputs.content if predicts else TRAINED_ON
    hashes = {name: inputs.content[name].sha256 for name in read}
    tracked.log_inputs(data_inputs(as_given(config).data, inputs.splits, hashes))


def log_results(record: Provenance, tracked: TrackedRun, results: Results) -> None:
    """Adds the results and the metrics of the run to the record, and logs it again."""
    record.results = with_metrics(results, tracked.history)
    tracked.log_text(record.to_json(), FILE)
    tracked.set_tags(tags(record))


def keep_provenance(record: Provenance, folder: Path, resumes: bool) -> None:
    """Writes the record into the training folder. If the run resumes, first notes what has changed since."""
    file = folder / FILE
    if resumes:
        try:
            earlier = Provenance.from_json(read_text(file), str(file))
            record.mixed = changes_while_interrupted(earlier, record)
        except (ConfigError, Unreadable) as error:  # damaged, or of another version
            log.warning("what has changed since the training was interrupted is not known: %s", error)
    write_text(file, record.to_json())


def amend_results(tracked: TrackedRun, tracking: TrackingConfig, predicted: Predicted) -> None:
    """Adds the final score and the submission to a closed run, so that both can be reproduced.

    If the run's record is of another version and cannot be read, it stays as it is.
    """
    tracked.log_metrics(predicted.metrics, step=0)
    try:
        record = Provenance.from_json(tracked.read_text(FILE), f"run {tracked.run_id}: {FILE}")
    except (ModelError, ConfigError) as error:
        log.warning("the final score is not in the record of run %s: %s", tracked.run_id, error)
    else:
        record.results.predictions = (record.results.predictions or {}) | predicted.hashes
        scores = {(name, 0): value for name, value in predicted.metrics.items()}
        history = read_history(tracked.client, tracked.run_id, record.results.metrics or ())
        record.results = with_metrics(record.results, history | scores)
        tracked.log_text(record.to_json(), FILE)
    for path in predicted.submissions:
        tracked.log_file(path, "submission")
