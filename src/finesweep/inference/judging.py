"""Finds a checkpoint, reads new rows, predicts them: what the command and the Python function share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from finesweep.config.run import DataConfig
from finesweep.data.table_file import TableFile
from finesweep.errors import ModelError
from finesweep.inference.origin import Origin, Stores, find_origin
from finesweep.inference.predictions import Predictions, predict
from finesweep.inference.rows import NewRows
from finesweep.inference.settings import settle

ATTEMPTS = 3  # a sweep that runs may replace its winner, and remove the old one's weights, meanwhile


def judge_rows(
    name: str,
    read: Callable[[DataConfig], TableFile],
    stores: Stores,
    overrides: Sequence[str] = (),
    keep: Sequence[str] | None = None,
    template: str | None = None,
) -> tuple[Predictions, Origin, list[str]]:
    """Predicts the rows of the table that `read` reads. Also returns the checkpoint, and notes for people.

    name: a checkpoint's folder, a run's id, or a study. overrides: `KEY=VALUE` for what `settle` needs. keep:
    columns that go into the output; None: all but the texts. template: a sample submission.
    Raises: FinesweepError.
    """
    last: Origin | None = None
    for _ in range(ATTEMPTS):
        with TemporaryDirectory() as scratch:
            origin = find_origin(name, stores, Path(scratch))
            try:
                config, task = settle(origin, overrides, template)
                rows = NewRows(read(config.data), config.data, task, keep)
                return predict(config, task, rows), origin, list(rows.notes)
            except ModelError:
                if origin == last or origin.folder.is_dir():
                    raise
                last = origin
    raise ModelError(f"{name}: its best checkpoint was replaced {ATTEMPTS} times meanwhile; try again")
