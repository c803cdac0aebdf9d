"""Predicts new rows, and holds the predictions as typed columns beside the columns that were kept."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from finesweep.config.run import RunConfig
from finesweep.data.split import Part
from finesweep.data.template import submission_of
from finesweep.errors import DataError
from finesweep.inference.rows import SPLIT, NewRows
from finesweep.tasks import Task
from finesweep.tasks.template import Submission, submission_text

if TYPE_CHECKING:
    import pandas as pd

INDEX = "index"  # the column that counts rows from 0, if no other is kept


@dataclass(frozen=True)
class Predictions:
    """The predictions of rows, in their order."""

    kept: dict[str, list[Any]]
    answers: dict[str, list[Any]]  # typed: names, numbers, lists of names or tags, 0/1 flags
    written: list[list[str]]  # the same answers as a run's prediction file has them, row by row
    probabilities: dict[str, list[Any]]  # of each label; of each word's tag
    submission: str | None = None  # the content of a file by the sample of a competition

    @property
    def columns(self) -> dict[str, list[Any]]:
        """All columns. Raises: DataError if a column that is kept has the name of a predicted one."""
        predicted = self.answers | self.probabilities
        kept = self.kept or {INDEX: list(range(len(self.written)))}
        if taken := [name for name in kept if name in predicted]:
            raise DataError(
                f"the rows have a column {taken[0]!r} already, where predictions go; rename it, or name the "
                "columns to keep: --keep NAME"
            )
        return kept | predicted

    def to_frame(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(self.columns)


def predict(config: RunConfig, task: Task, rows: NewRows) -> Predictions:
    """Predicts rows in batches of about equally many tokens. `config` and `task` are those of `settle`.

    Raises: ModelError for a checkpoint that cannot be loaded; ConfigError, DataError for a template.
    """
    from finesweep.machine import device
    from finesweep.training.evaluation import predict as predict_logits
    from finesweep.training.inputs import encoded, quieten
    from finesweep.training.predict import predictor
    from finesweep.training.tokenizer import read_tokenizer

    names, texts = config.data.labels or ["value"], rows.texts
    submission: Submission | None = None
    if config.data.submission.template is not None:
        submission = submission_of(config.data, rows, [Part(SPLIT, 0, texts)], task, names)
    quieten()
    device.prepare(config.trainer)
    with TemporaryDirectory() as scratch:
        config = replace(config, cache_dir=scratch)
        tokenizer = read_tokenizer(config.model, task.is_pretokenized)
        trainer = predictor(config, task, tokenizer, Path(str(config.model.name_or_path)), Path(scratch))
        encoded_rows = encoded(config, task, tokenizer, texts, str(rows.where(SPLIT)))
        logits = predict_logits(trainer, encoded_rows)
        written = list(task.answers(logits, encoded_rows, names)[1])
        return Predictions(
            rows.kept,
            task.predictions(logits, encoded_rows, names),
            written,
            task.probabilities(logits, encoded_rows, names),
            submission_text(submission, task, logits, encoded_rows, names) if submission else None,
        )
