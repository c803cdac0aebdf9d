"""Predicts new rows from a program or a notebook."""

import json
import logging
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.api.study import Study
from finesweep.config.run import TrackingConfig
from finesweep.config.study import StudyConfig
from finesweep.errors import ModelError

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import pandas as pd

    from finesweep.api.composing import Overrides
    from finesweep.training.run import RunResult


def predict(
    model: "str | PathLike[str] | Study | RunResult",
    rows: Any,
    overrides: "Overrides" = (),
    *,
    storage: str = StudyConfig().storage,
    tracking_uri: str = TrackingConfig().uri,
) -> "pd.DataFrame":
    """Predicts rows: labels and probabilities, beside the columns of `rows` that are no texts.

    model: a checkpoint's folder, a run's id, a study or its name, or what `run` returned. rows: a table file,
    a DataFrame, a Dataset, a dictionary of columns, a list of dictionaries, or a list of texts.
    overrides: how a checkpoint of another program was trained: `["data.text_columns=[text]", ...]`, or
    a dictionary of values.
    Raises: FinesweepError.
    """
    from finesweep.api.composing import as_config_errors
    from finesweep.inference.judging import judge_rows
    from finesweep.inference.origin import Stores
    from finesweep.inference.rows import table_of_file, table_of_memory

    if isinstance(model, Study):
        storage, tracking_uri = model.storage, model.tracking_uri
    is_file = isinstance(rows, (str, PathLike))
    read = partial(table_of_file, Path(rows)) if is_file else partial(table_of_memory, rows)
    stores = Stores(storage, TrackingConfig(uri=tracking_uri))
    arguments = _arguments(overrides)
    with as_config_errors(arguments):
        predictions, _, notes = judge_rows(_name_of(model), read, stores, arguments)
    for note in notes:
        log.warning("%s", note)
    return predictions.to_frame()


def _arguments(overrides: "Overrides") -> list[str]:
    """Writes overrides as the command takes them: their values are YAML, which has JSON as a part."""
    from finesweep.api.composing import written

    if isinstance(overrides, Mapping):
        return [
            f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in overrides.items()
        ]
    return written(overrides)


def _name_of(model: "str | PathLike[str] | Study | RunResult") -> str:
    if isinstance(model, (str, PathLike)):
        return str(model)
    if isinstance(model, Study):
        return model.name
    if model.checkpoint is None:
        raise ModelError(f"run {model.run_id}: it has no checkpoint")
    return model.checkpoint
