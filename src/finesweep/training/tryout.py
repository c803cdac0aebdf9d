"""Tries a model out on one batch before anything is trained, so that what cannot work is one error."""

import inspect
import json
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from finesweep.config.run import ModelConfig, RunConfig
from finesweep.errors import ModelError
from finesweep.io.atomic import write_text
from finesweep.training.inputs import Inputs, load_inputs
from finesweep.training.model import load_model
from finesweep.training.tried import marker

log = logging.getLogger(__name__)


def load_and_try_out(configs: Sequence[RunConfig]) -> None:
    """Loads the inputs of each config and tries its model out. Raises: ModelError, ConfigError, DataError."""
    for config in configs:
        try_out(config, load_inputs(config))


def try_out(config: RunConfig, inputs: Inputs) -> None:
    """Computes loss and gradients of one batch, on the CPU and with weights that are then thrown away.

    A model that passed with these files, settings and data is not tried again; a file under `cache_dir` says
    so. Side effects: writes that file, and seeds the global random states.
    Raises: ModelError if the model cannot be trained, ConfigError for a value that it cannot have.
    """
    file = marker(config, inputs.splits.labels)
    if file.exists():
        return
    model = load_model(config.model, inputs.tokenizer, inputs.task, inputs.names, config.seed, config.peft)
    try:
        loss = _train_once(config, model, inputs)
    except Exception as error:  # each architecture has errors of its own
        raise _failed(config.model, f"{type(error).__name__}: {error}") from error
    if not math.isfinite(loss):
        raise _failed(config.model, f"the loss is {loss}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({"model": config.model.name, "loss": loss}) + "\n")


def _train_once(config: RunConfig, model: PreTrainedModel, inputs: Inputs) -> float:
    """Returns the loss of a batch: the longest row, drawn out to `max_length`, and the shortest one."""
    lengths = np.asarray(inputs.train["length"][:])
    accepted = inspect.signature(model.forward).parameters
    longest = stretched(inputs.train[int(lengths.argmax())], config.model.max_length)
    rows = [longest, inputs.train[int(lengths.argmin())]]
    batch = inputs.task.collator(inputs.tokenizer)(
        [{name: value for name, value in row.items() if name in accepted} for row in rows]
    )
    if config.model.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    loss = model.train()(**batch).loss  # scalar
    loss.backward()
    return float(loss.item())


def stretched(row: dict[str, Any], length: int) -> dict[str, Any]:
    """Repeats the middle token of an encoded row until it has `length` tokens."""
    present = row["length"]
    middle, missing = present // 2, max(0, length - present)

    def drawn_out(values: Any) -> Any:
        if not isinstance(values, list) or len(values) != present or not values:
            return values
        return values[:middle] + [values[middle]] * missing + values[middle:]

    return {name: drawn_out(values) for name, values in row.items()}


def _failed(model: ModelConfig, problem: str) -> ModelError:
    where = f"model.name_or_path: {model.name_or_path}" if model.name_or_path else f"model: {model.name}"
    first = problem.strip().partition("\n")[0]
    return ModelError(
        f"{where}: a batch of the longest rows cannot be trained ({first}); legal: files that belong "
        "together, of a model that transformers can train for this task; a smaller model.max_length may help"
    )
