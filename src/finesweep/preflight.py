"""What can be refused before a model is loaded or anything is written; without torch, so that it is quick."""

import logging

from finesweep.config import ModelConfig, RunConfig
from finesweep.data import Splits, load_splits
from finesweep.errors import SubmissionError
from finesweep.hub import check_model_source
from finesweep.metrics import check_metric
from finesweep.submission import check_rows

log = logging.getLogger(__name__)


def read_rows(config: RunConfig) -> Splits:
    """The rows of all splits that this config needs. Raises: DataError, ConfigError."""
    splits = load_splits(config.data, test=config.predict)
    check_metric(config.data, 1 if splits.labels is None else len(splits.labels))
    for split, rows in splits.test.items():
        if problem := submission_problem(config, split, len(rows)):
            log.warning("%s", problem)
    return splits


def check_model(config: ModelConfig) -> None:
    """Raises: ModelError if there is no such checkpoint, here or on the hub."""
    if config.name_or_path is not None:
        check_model_source(config.name_or_path, config.revision)


def submission_problem(config: RunConfig, split: str, rows: int) -> str | None:
    """Why predictions of this test split cannot be handed in; None if they can, or if it is no GLUE task."""
    if config.data.glue_task is None:
        return None
    try:
        check_rows(config.data.glue_task, split, rows)
    except SubmissionError as error:
        return str(error)
    return None
