"""Writes, validates, completes and zips the prediction files that the GLUE server accepts.

Every file has the header `index<TAB>prediction` and one line per test row, with an index from 0.
Source: the sample submission of https://gluebenchmark.com, except for QNLI: the sample has the 5740 rows of
QNLI's first version, but the server expects the 5463 of its second.
"""

import math
import operator
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finesweep.errors import OutputError, SubmissionError
from finesweep.io.atomic import staged, write_text

HEADER = "index\tprediction"
STSB_NUMBER = re.compile(r"[0-4]\.[0-9]{3}|5\.000")


@dataclass(frozen=True)
class GlueFile:
    """One file of a GLUE submission; `task` and `split` are the hub's names (nyu-mll/glue)."""

    name: str
    task: str
    split: str
    rows: int
    labels: tuple[str, ...] | None  # in the file, for the hub's label ids 0, 1, ...; None: a number
    majority: str  # the prediction for every row if there is no model for the task
    label_names: tuple[str, ...] = ()  # the hub's label names, if they differ from `labels`

    @property
    def legal(self) -> str:
        """The legal predictions, for messages."""
        return ", ".join(self.labels) if self.labels else "0.000 to 5.000, three decimals"


BINARY = ("0", "1")
PAIR = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")

# `majority` is the most frequent label in train. Sources: counted in the official files for MRPC (2474 of
# 3668), RTE (1249 of 2490) and WNLI (323 of 635); label shares of nyu-mll/glue on the hub for CoLA (70%),
# SST-2 (56%) and QQP (63%). QNLI and MNLI (and so AX) are balanced: they get their first label. STS-B gets
# train's mean score.
GLUE_FILES = (
    GlueFile("CoLA", "cola", "test", 1063, BINARY, "1", ("unacceptable", "acceptable")),
    GlueFile("SST-2", "sst2", "test", 1821, BINARY, "1", ("negative", "positive")),
    GlueFile("MRPC", "mrpc", "test", 1725, BINARY, "1", ("not_equivalent", "equivalent")),
    GlueFile("STS-B", "stsb", "test", 1379, None, "2.700"),
    GlueFile("QQP", "qqp", "test", 390965, BINARY, "0", ("not_duplicate", "duplicate")),
    GlueFile("MNLI-m", "mnli", "test_matched", 9796, NLI, "entailment"),
    GlueFile("MNLI-mm", "mnli", "test_mismatched", 9847, NLI, "entailment"),
    GlueFile("QNLI", "qnli", "test", 5463, PAIR, "entailment"),
    GlueFile("RTE", "rte", "test", 3000, PAIR, "entailment"),
    GlueFile("WNLI", "wnli", "test", 146, BINARY, "0", ("not_entailment", "entailment")),
    GlueFile("AX", "mnli", "ax", 1104, NLI, "entailment"),
)
BY_NAME = {file.name: file for file in GLUE_FILES}


@dataclass(frozen=True)
class ValidSubmission:
    """A file that has passed validation."""

    name: str
    task: str
    rows: int


def file_for(glue_task: str, split: str) -> GlueFile:
    """Finds the official file of a test split, or of a slice of it such as `test[:100]`.

    Raises: SubmissionError if GLUE has no file for the split.
    """
    whole = split.partition("[")[0]
    if (glue_task, whole) in (("ax", "test"), ("ax", "ax")):  # on the hub, AX is a task of its own
        glue_task, whole = "mnli", "ax"
    splits = {file.split: file for file in GLUE_FILES if file.task == glue_task}
    if not splits:
        known = ", ".join(dict.fromkeys(file.task for file in GLUE_FILES))
        raise SubmissionError(f"data.glue_task: got {glue_task!r}; GLUE takes files for: {known}, ax")
    if whole not in splits:
        raise SubmissionError(f"data.test_split: got {split!r}; GLUE's {glue_task} has: {', '.join(splits)}")
    return splits[whole]


def write_submission(
    glue_task: str,
    split: str,
    predictions: Sequence[int] | Sequence[float],
    labels: list[str] | None,
    directory: Path,
    whole: bool = True,
) -> Path:
    """Writes and validates `directory/<File>.tsv`, all of it or nothing.

    predictions: label ids, or numbers for a regression; one per test row, in the split's order.
    labels: the label names, ordered by these ids; None: in the hub's order.
    whole: False also writes predictions of a part of the test split, which the server would refuse.
    Raises: SubmissionError for illegal predictions, OutputError if the file cannot be written.
    """
    if whole:
        check_rows(glue_task, split, len(predictions))
    file = file_for(glue_task, split)
    return _write(directory / f"{file.name}.tsv", _glue_answers(file, predictions, labels), file, whole)


def check_rows(glue_task: str, split: str, rows: int) -> None:
    """Checks the number of predictions of a test split; is called before training, too.

    Raises: SubmissionError for a part of a split.
    """
    file = file_for(glue_task, split)
    if rows != file.rows:
        raise SubmissionError(
            f"data.test_split: got {split!r} with {rows} rows; {file.name}.tsv needs predictions of the "
            f"whole split: {file.split}, {file.rows} rows"
        )


def validate_submission(path: Path) -> ValidSubmission:
    """Validates a file by GLUE's rules. Raises: SubmissionError with the line and what is expected there."""
    file = BY_NAME.get(path.stem)
    if file is None or path.suffix != ".tsv":
        known = ", ".join(f"{name}.tsv" for name in BY_NAME)
        raise SubmissionError(f"{path}: not the name of a GLUE file; known: {known}")
    try:
        text = path.read_bytes().decode("utf-8")  # read_text would convert "\r\n"
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{path}: not UTF-8 text: {error}") from error
    return _check_text(str(path), file, text)


def fill_missing(directory: Path, present: set[str]) -> list[Path]:
    """Writes a file of majority predictions for every GLUE file that is not in `present` ("MNLI-m", ...).

    Raises: SubmissionError for an unknown name, or if `directory` has other predictions for such a file.
    """
    if unknown := present - set(BY_NAME):
        raise SubmissionError(f"not GLUE files: {', '.join(sorted(unknown))}; known: {', '.join(BY_NAME)}")
    missing = {directory / f"{file.name}.tsv": file for file in GLUE_FILES if file.name not in present}
    for path, file in missing.items():  # all are checked before the first is written
        if path.exists() and path.read_bytes() != _text([file.majority] * file.rows).encode():
            raise SubmissionError(
                f"{path}: holds other predictions; move the file away, or submit its study too"
            )
    return [_write(path, [file.majority] * file.rows, file) for path, file in missing.items()]


def zip_submission(paths: Iterable[Path], target: Path) -> Path:
    """Writes a zip without folders. The same files give the same bytes, in whatever order they are passed.

    Raises: SubmissionError for two files of one name, OutputError if the zip cannot be written.
    """
    files = sorted(paths, key=lambda path: path.name)
    for first, second in zip(files, files[1:], strict=False):
        if first.name == second.name:
            raise SubmissionError(f"{first} and {second}: two files of one name cannot go into one zip")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staged(target) as staging:
            _zip(files, staging)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error}") from error
    return target


def _zip(files: list[Path], target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.name)  # dated 1980: `archive.write` would store the file's own time
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, -rw-r--r--
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _glue_answers(
    file: GlueFile, predictions: Sequence[int] | Sequence[float], labels: list[str] | None
) -> Iterator[str]:
    if file.labels is None:
        return (f"{min(max(0.0, number), 5.0):.3f}" for number in _finite(predictions))
    return _named(predictions, _answer_per_id(file, file.labels, labels))


def _answer_per_id(file: GlueFile, official: tuple[str, ...], labels: list[str] | None) -> Sequence[str]:
    """Maps the run's label ids to the file's labels; the run's ids may be in another order than the hub's."""
    if labels is None:
        return official
    for names in (official, file.label_names):
        if sorted(labels) == sorted(names):
            answer = dict(zip(names, official, strict=True))
            return [answer[name] for name in labels]
    legal = " or ".join(", ".join(names) for names in (official, file.label_names) if names)
    raise SubmissionError(f"data.labels: got {', '.join(labels)}; legal for {file.name}: {legal}")


def _named(predictions: Sequence[int] | Sequence[float], names: Sequence[str]) -> Iterator[str]:
    for row, label_id in enumerate(predictions):
        try:
            position = operator.index(label_id)  # type: ignore[arg-type]  # it raises TypeError for a float
        except TypeError:
            position = -1
        if not 0 <= position < len(names):
            raise SubmissionError(f"row {row}: predicted {label_id!r}; expected 0 to {len(names) - 1}")
        yield names[position]


def _finite(predictions: Sequence[int] | Sequence[float]) -> Iterator[float]:
    for row, number in enumerate(predictions):
        if not math.isfinite(number):
            raise SubmissionError(f"row {row}: predicted {number}; expected a number")
        yield float(number)


def _text(answers: Iterable[str]) -> str:
    return f"{HEADER}\n" + "".join(f"{row}\t{answer}\n" for row, answer in enumerate(answers))


def _check_text(where: str, file: GlueFile, text: str, whole: bool = True) -> ValidSubmission:
    if "\r" in text:
        raise SubmissionError(f"{where}: has Windows line ends (\\r\\n); expected \\n")
    header, *rows = text.split("\n")
    if header != HEADER:
        raise SubmissionError(f"{where}, line 1: got {header!r}; expected {HEADER!r}")
    if not rows or rows.pop() != "":
        raise SubmissionError(f"{where}: the last line has no line end; is the file cut off?")
    for index, line in enumerate(rows):
        number, _, answer = line.partition("\t")
        if number != str(index):
            raise SubmissionError(f"{where}, line {index + 2}: got {line!r}; expected index {index}")
        if not (answer in file.labels if file.labels else STSB_NUMBER.fullmatch(answer)):
            raise SubmissionError(f"{where}, line {index + 2}: got {answer!r}; expected {file.legal}")
    if whole and len(rows) != file.rows:
        raise SubmissionError(
            f"{where}: has {len(rows)} rows; expected the {file.rows} of the official test split"
        )
    return ValidSubmission(file.name, file.task, len(rows))


def _write(path: Path, answers: Iterable[str], file: GlueFile, whole: bool = True) -> Path:
    text = _text(answers)
    _check_text(str(path), file, text, whole)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    return path
