"""Loads the splits of a run from the configured source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from finesweep.config.rules import check_rules
from finesweep.config.run import GLUE_TASKS, DataConfig, DataSource, ProblemType
from finesweep.data.demo import Demo
from finesweep.data.glue import TASKS, GlueFiles
from finesweep.data.glue_hub import GlueHub
from finesweep.data.labels import label_names, number_labels
from finesweep.data.readers import EXTENSIONS, kind
from finesweep.data.source import LABEL, Source
from finesweep.data.split import Part, Parts, hold_out, shared_rows
from finesweep.data.table import Tables
from finesweep.data.template import check_submission, submission_of
from finesweep.errors import ConfigError, DataError, first_line
from finesweep.io.file_state import State, state_of
from finesweep.tasks import Task, task_of
from finesweep.tasks.template import Submission


@dataclass(frozen=True)
class Splits:
    """The rows of a run. Every dataset has the config's text columns and, except in `test`, "label".

    "label" is encoded by the task type: an index into `labels` (int64), one such index for each word, a 0 or
    1 for each of `labels`, or a number (float32), where `labels` is None.
    """

    train: Dataset
    eval: Dataset
    final_eval: Dataset | None
    test: dict[str, Dataset]  # split name -> unlabelled rows in file order; empty without data.test_split
    labels: list[str] | None
    submission: Submission | None = None  # how predictions of the test split are written, by a sample
    notes: tuple[str, ...] = ()  # what was guessed, replaced or left out when the rows were read
    shared: int = 0  # how many rows of `final_eval` are trained on, or select


def load_splits(config: DataConfig, *, seed: int = 0, test: bool = True) -> Splits:
    """Reads the splits that `config` names, and no others.

    seed: draws the rows of the hold-out. test: whether to read the test splits.

    Raises:
        ConfigError: a key of `data` is illegal, or does not fit the source.
        DataError: rows cannot be read; the message names the file and the place in it.
    """
    _check(config)
    task = task_of(config)
    source = _source(config, task)
    parts = Parts(source)
    train_parts = parts.of("train_split", config.train_split)
    names = label_names(config, source, train_parts, task)

    def labelled(selected: Sequence[Part]) -> Dataset:
        numbered = [number_labels(part, names, source, task) for part in selected]
        return _join(numbered, [*config.text_columns, LABEL])

    train, used, notes = labelled(train_parts), train_parts, list[str]()
    if config.holdout is not None:
        train, selecting = hold_out(train, config.holdout, seed, stratify=task.stratifies)
    else:
        assert config.eval_split is not None  # `_check` refuses a config with neither of the two
        eval_parts = parts.of("eval_split", config.eval_split)
        selecting, used = labelled(eval_parts), [*train_parts, *eval_parts]
    key, final_split = _final_split(config, source, notes)
    final_parts = parts.of(key, final_split) if final_split is not None else []
    final = labelled(final_parts) if final_parts else None
    tests = _test_parts(config, parts) if test else []
    unlabelled = {part.split: _join([part.rows], config.text_columns) for part in tests}
    submission = _submission(config, source, tests, names or ["value"], notes)
    shared = shared_rows(final_parts, used)
    return Splits(train, selecting, final, unlabelled, names, submission, (*source.notes, *notes), shared)


def _submission(
    config: DataConfig, source: Source, tests: Sequence[Part], names: Sequence[str], notes: list[str]
) -> Submission | None:
    """Plans the submission by its sample, with a note; None without a sample, or without rows to predict."""
    if not tests or config.submission.template is None:
        return None
    task = task_of(config)
    submission = submission_of(config, source, tests, task, names)
    notes.append(submission.describe(names, task))
    return submission


def _final_split(config: DataConfig, source: Source, notes: list[str]) -> tuple[str, str | None]:
    """Returns the split to score once, and the key that names it."""
    if config.holdout is not None and config.final_eval_split is None:
        return "eval_split", _unless_missing(config.eval_split, source, notes)
    return "final_eval_split", config.final_eval_split


def _unless_missing(split: str | None, source: Source, notes: list[str]) -> str | None:
    """Returns a split to score once; None, with a note, if it is the default one and the data has none."""
    if split != DataConfig.eval_split or split in source.names:
        return split
    notes.append(f"there is no split {split!r}: nothing is scored once after training (data.eval_split)")
    return None


_read: dict[object, Splits] = {}  # by config and state of the files; holds the last one only
_ATTEMPTS = 3


def read_splits(config: DataConfig, *, test: bool = True) -> Splits:
    """Loads the splits once per process, and again when a file has changed since.

    Raises: the same errors as `load_splits`; DataError for files that change while they are read.
    """
    for _ in range(_ATTEMPTS):
        key = repr(config), test, files_state(config)
        if key in _read:
            return _read[key]
        splits = load_splits(config, test=test)
        if files_state(config) == key[-1]:
            _read.clear()
            _read[key] = splits
            return splits
    raise DataError(f"data.path: {config.path} changed while it was read; wait until it is written")


def files_state(config: DataConfig) -> State:
    """Returns the state of the files that a config's rows come from; equal states have equal rows."""
    try:
        named = [Path(name).expanduser() for name in (config.path, config.submission.template) if name]
        below = [file for place in named if place.is_dir() for file in (*place.glob("*"), *place.glob("*/*"))]
        return state_of([*named, *(file for file in below if kind(file) in EXTENSIONS)])
    except (OSError, RuntimeError) as error:  # ~nobody, a name that is too long, a folder without permission
        raise DataError(f"data.path: {config.path}: {first_line(error)}") from error


def _test_parts(config: DataConfig, parts: Parts) -> list[Part]:
    if config.test_split is None:
        return []
    selected = parts.of("test_split", config.test_split, labelled=False)
    names = [part.split for part in selected]
    if len(set(names)) < len(names):
        raise ConfigError.at("data.test_split", config.test_split, "each split at most once")
    return selected


def _join(parts: list[Dataset], columns: Sequence[str]) -> Dataset:
    joined = parts[0] if len(parts) == 1 else concatenate_datasets(parts)
    return joined.select_columns(list(columns))


def _source(config: DataConfig, task: Task) -> Source:
    path = Path(config.path).expanduser() if config.path is not None else None
    if config.source is DataSource.glue:
        return _glue(config, path)
    if config.source is DataSource.table:
        if path is None:
            raise ConfigError.at("data.path", None, "a CSV, TSV, JSON or parquet file, or a folder of them")
        return Tables(config, path, task)
    demo = Demo(config.demo_rows)
    _check_type(config, ProblemType.classification, "data.source=demo")
    _check_columns(config, demo.text_columns)
    return demo


def _glue(config: DataConfig, path: Path | None) -> Source:
    if config.glue_task is None:
        raise ConfigError.at("data.glue_task", None, ", ".join(GLUE_TASKS))
    task = TASKS[config.glue_task]
    _check_columns(config, list(task.text))
    needed = ProblemType.regression if task.names is None else ProblemType.classification
    _check_type(config, needed, task.folder)
    return GlueFiles(task, path) if path is not None else GlueHub(task)


def _check_type(config: DataConfig, needed: ProblemType, where: str) -> None:
    if config.problem_type is not needed:
        raise ConfigError.at("data.problem_type", config.problem_type.value, f"{needed.value} for {where}")


def _check_columns(config: DataConfig, available: Sequence[str]) -> None:
    missing = [name for name in config.text_columns if name not in available]
    if missing:
        raise ConfigError.at(
            "data.text_columns",
            config.text_columns,
            f"one or two of {', '.join(available)}",
        )


def _check(config: DataConfig) -> None:
    check_rules(config, "data.")
    columns = config.text_columns
    if len(columns) not in (1, 2) or len(set(columns)) < len(columns) or not all(columns):
        raise ConfigError.at("data.text_columns", columns, "one column, or a pair of two different ones")
    _check_apart(config)
    check_submission(config)
    if config.eval_split is None and config.holdout is None:
        raise ConfigError.at("data.eval_split", None, "a split, or null together with data.holdout=0.2")


def _check_apart(config: DataConfig) -> None:
    """Raises: ConfigError for a column that is configured as a text and as a label."""
    key, names = "label_column", [config.label_column]
    if config.label_columns:
        key, names = "label_columns", list(config.label_columns)
    if {LABEL, *names} & {*config.text_columns}:
        shown = repr(names[0]) if key == "label_column" else names
        legal = f"columns other than {LABEL!r} and data.{key}={shown}"
        raise ConfigError.at("data.text_columns", config.text_columns, legal)
