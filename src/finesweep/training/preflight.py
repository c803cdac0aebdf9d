"""Checks a config before a model is loaded or anything is written. Imports no torch, so that it is quick."""

import logging
from importlib.util import find_spec
from pathlib import Path

from finesweep.config.run import Architecture, Init, ModelConfig, RunConfig, TrackingConfig
from finesweep.data import Splits, read_splits
from finesweep.data.source import LABEL
from finesweep.errors import ConfigError, ModelError, SubmissionError
from finesweep.io.hub import LEGAL_MODEL, WEIGHTS, check_model_source
from finesweep.io.output import check_writable
from finesweep.tasks import check_labels, check_metric, task_of
from finesweep.tasks.class_weights import class_weights
from finesweep.tasks.glue_submission import check_rows
from finesweep.tasks.prediction_file import check_names

log = logging.getLogger(__name__)
POSITIONS = 512  # of a model that is built from sizes: the default of transformers' BertConfig


def check(config: RunConfig) -> None:
    """Checks model, data, metric and submission. Raises: ModelError, DataError, ConfigError."""
    check_model(config.model)
    check_peft(config)
    check_data(config)


def check_data(config: RunConfig) -> Splits:
    """Reads the splits of a run, once per process, and checks that metric, weights and names fit them.

    Raises: DataError, ConfigError.
    """
    splits = read_splits(config.data, test=config.predict)
    task, names = task_of(config.data), splits.labels or ["value"]
    check_metric(task, names)
    check_labels(task, config.data.metric, names, splits.eval[LABEL][:])
    if splits.final_eval is not None:
        final = splits.final_eval[LABEL][:]
        check_labels(task, config.data.metric, names, final, rows="rows of the final score")
    class_weights(task, names, splits.train[LABEL][:])
    if splits.test and config.data.glue_task is None:
        check_names(task, names)
    for split, rows in splits.test.items():
        if problem := submission_problem(config, split, len(rows)):
            log.warning("%s", problem)
    return splits


def check_peft(config: RunConfig) -> None:
    """Raises: ConfigError if adapters cannot be trained on this model, or not in this installation."""
    if config.peft is None:
        return
    if find_spec("peft") is None:
        raise ConfigError(
            "peft: its package is not installed; legal: peft=none, or finesweep with this extra: "
            "pip install '.[lora]' in a checkout, or the wheel's name with [lora] behind it"
        )
    if config.model.name_or_path is None or config.model.init is Init.random:
        raise ConfigError(
            "peft: adapters need a base model with trained weights; legal: peft=none here, or a model of the "
            "hub or of a folder: model=bert-tiny, or model.init=pretrained model.name_or_path=FOLDER"
        )
    if config.model.freeze is not None:
        raise ConfigError.at("model.freeze", config.model.freeze, "null with peft, which freezes all weights")


def check_model(config: ModelConfig) -> None:
    """Raises: ModelError if there is no such checkpoint, ConfigError if sizes or `max_length` cannot be."""
    if config.name_or_path is None:
        return _check_architecture(config.architecture, config.max_length)
    positions = check_model_source(config.name_or_path, config.revision).get("max_position_embeddings")
    # No number below 1 is a limit: XLNet's config.json may say -1.
    if isinstance(positions, int) and 0 < positions < config.max_length:
        raise ConfigError.at("model.max_length", config.max_length, f"8 to {positions}, the model's limit")
    folder = Path(config.name_or_path)
    if (
        folder.is_dir()
        and config.init is Init.pretrained
        and not any(any(folder.glob(name)) for name in WEIGHTS)
    ):
        raise ModelError(
            f"model.name_or_path: {folder}: the folder has no {' or '.join(WEIGHTS)}; {LEGAL_MODEL}"
        )


def _check_architecture(sizes: Architecture | None, max_length: int) -> None:
    if sizes is None:
        raise ConfigError(
            "model: neither name_or_path nor architecture is set; set model.name_or_path=DIR or a hub id"
        )
    if sizes.hidden_size % sizes.num_attention_heads:
        legal = f"a multiple of model.architecture.num_attention_heads={sizes.num_attention_heads}"
        raise ConfigError.at("model.architecture.hidden_size", sizes.hidden_size, legal)
    if max_length > POSITIONS:
        legal = f"8 to {POSITIONS}, the positions of a model of model.architecture"
        raise ConfigError.at("model.max_length", max_length, legal)


def check_folders(config: TrackingConfig, output_dir: Path) -> None:
    """Raises: OutputError if the folder of the run, or that of its artifacts, cannot be written."""
    check_writable(output_dir)
    if not config.is_server:
        check_writable(Path(config.artifacts))


def submission_problem(config: RunConfig, split: str, rows: int) -> str | None:
    """Explains why GLUE would refuse predictions of this split; None if it would not, or for other data."""
    if config.data.glue_task is None:
        return None
    try:
        check_rows(config.data.glue_task, split, rows)
    except SubmissionError as error:
        return str(error)
    return None
