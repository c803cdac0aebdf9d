"""Settles how a checkpoint predicts: by itself, by its run's record, and by keys of the command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finesweep.config.parse import from_dict
from finesweep.config.run import ProblemType, RunConfig, SubmissionConfig
from finesweep.config.trained import KEYS
from finesweep.errors import ConfigError, ModelError
from finesweep.inference.origin import Origin
from finesweep.io.reading import Unreadable, read_object
from finesweep.tasks import Task, task_of

LEGAL = (
    *(f"{group}.{key}" for group, keys in KEYS.items() for key in keys),
    "data.labels", "data.delimiter", "data.encoding", "data.submission.values",
    "trainer.threads", "trainer.device",
)  # fmt: skip
# The keys without which a checkpoint of another program cannot predict, with an example of each.
NEEDED = {"data.text_columns": "[text]", "model.max_length": "128"}
TYPES = {
    "single_label_classification": ProblemType.classification,
    "multi_label_classification": ProblemType.multi_label_classification,
    "regression": ProblemType.regression,
}


def settle(origin: Origin, overrides: Sequence[str], template: str | None = None) -> tuple[RunConfig, Task]:
    """Returns the config to predict with, and the task with its scale; `data.labels` are the label names.

    Raises: ConfigError naming the keys that nothing tells, ModelError for a model without an output layer.
    """
    config_file = _read_config(origin.folder)
    known = {f"{group}.{key}": value for group, keys in origin.known.items() for key, value in keys.items()}
    given = _given(overrides)
    legal = _problem_types(origin, config_file)
    problem_type = given.get("data.problem_type", legal[0]).strip("'\"")
    if problem_type not in legal:
        raise ConfigError.at("data.problem_type", problem_type, f"{' or '.join(legal)} for {origin.shown}")
    known.setdefault("data.problem_type", problem_type)
    is_multi = problem_type == ProblemType.multi_label_classification.name
    needed = NEEDED | ({"data.threshold": "0.5"} if is_multi else {})
    if missing := [key for key in needed if key not in {*known, *given}]:
        example = " ".join(f"{key}={needed[key]}" for key in missing)
        raise ConfigError(
            f"{origin.folder}: it does not say how it was trained; missing: {', '.join(missing)}. "
            f"Give what it was trained with, such as: {example}"
        )
    config = from_dict(_fixed(origin.folder), _nested(known), overrides=overrides)
    config.data.submission = SubmissionConfig(template, config.data.submission.values)
    names = _names(config, config_file)
    task = task_of(config.data).restored(config_file)
    config.data.labels = names
    return config, task


def _given(overrides: Sequence[str]) -> dict[str, str]:
    given = {text.partition("=")[0]: text.partition("=")[2] for text in overrides}
    for text in overrides:
        if "=" not in text or text.partition("=")[0] not in LEGAL:
            raise ConfigError(f"{text}: changes no prediction; legal: KEY=VALUE with {', '.join(LEGAL)}")
    return given


def _fixed(folder: Path) -> dict[str, Any]:
    """Returns the keys of a config that a prediction has no use for, and those that are always the same."""
    return {
        "data": {"name": "new-rows", "source": "table", "metric": "accuracy", "text_columns": []},
        "model": {"name": "checkpoint", "name_or_path": str(folder)},
    }


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        group, _, name = key.partition(".")
        nested.setdefault(group, {})[name] = value
    return nested


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / "config.json")
    except Unreadable as error:
        raise ModelError(f"{folder}: {error}; legal: a folder that `from_pretrained` loads") from error


def _problem_types(origin: Origin, config_file: dict[str, Any]) -> list[str]:
    """Names the types of task that a checkpoint can predict: first its own, alone if its record tells it."""
    found = _problem_type(origin.folder, config_file)
    recorded = origin.known.get("data", {}).get("problem_type")
    if recorded or found is ProblemType.token_classification:
        return [recorded or found.name]
    single = ProblemType.regression if _count(config_file) == 1 else ProblemType.classification
    return list(dict.fromkeys(one.name for one in (found, single, ProblemType.multi_label_classification)))


def _problem_type(folder: Path, config_file: dict[str, Any]) -> ProblemType:
    """Tells the type of task by a model's config.json. Raises: ModelError for a model without its output."""
    model_class = str((config_file.get("architectures") or [""])[0])
    if model_class.endswith("ForTokenClassification"):
        return ProblemType.token_classification
    if not model_class.endswith("ForSequenceClassification"):
        raise ModelError(
            f"{folder}: its model is {model_class or 'not named in config.json'}, which has no trained "
            "output layer for labels; legal: a model for sequence or token classification"
        )
    named = TYPES.get(str(config_file.get("problem_type")))
    return named or (ProblemType.regression if _count(config_file) == 1 else ProblemType.classification)


def _count(config_file: dict[str, Any]) -> int:
    names = config_file.get("id2label")
    return len(names) if isinstance(names, dict) else int(config_file.get("num_labels", 2))


def _names(config: RunConfig, config_file: dict[str, Any]) -> list[str] | None:
    """Returns the label names by id; None for a regression. Raises: ConfigError if their number is wrong."""
    if config.data.problem_type is ProblemType.regression:
        return None
    count = _count(config_file)
    if config.data.labels is not None:
        if len(config.data.labels) != count:
            raise ConfigError.at("data.labels", config.data.labels, f"{count} names, one for each output")
        return list(config.data.labels)
    names = config_file.get("id2label") or {str(i): f"LABEL_{i}" for i in range(count)}
    try:
        return [str(names[str(number)]) for number in range(count)]
    except KeyError as error:
        raise ModelError(f"{config.model.name_or_path}: config.json: id2label has no {error}") from error
