"""`finesweep predict`: predicts new rows."""

import sys
from functools import partial
from pathlib import Path

import click

from finesweep.cli import completing, options
from finesweep.config.run import TrackingConfig
from finesweep.io.terminal import show


@click.command()
@click.argument("model", metavar="CHECKPOINT|RUN_ID|STUDY", shell_complete=completing.checkpoints)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE ...]")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="The predictions: a .csv, .tsv, .jsonl or .parquet file.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
@click.option(
    "--keep", multiple=True, metavar="COLUMN",
    help="A column of FILE to keep in the output; may be repeated. Default: all but the texts.",
)  # fmt: skip
@click.option("--template", metavar="FILE", help="A sample submission, whose columns and ids are followed.")
@options.storage
@options.tracking
def predict(
    model: str, file: Path, overrides: tuple[str, ...], out: Path, overwrite: bool, keep: tuple[str, ...],
    template: str | None, storage: str, tracking: TrackingConfig,
) -> None:  # fmt: skip
    """Predict new rows with a trained model.

    It writes labels and probabilities, in the order of FILE, which needs no labels.
    The model is a checkpoint's folder, a run, or the winner of a study. KEY=VALUE says how a checkpoint of
    another program was trained, as data.text_columns=[text] model.max_length=128, or changes it.
    """
    from finesweep.inference.writing import SUFFIXES, check_target, suffix_of

    suffixes = (suffix_of(template),) if template else SUFFIXES
    check_target(out, overwrite, suffixes)
    from finesweep.inference.judging import judge_rows
    from finesweep.inference.origin import Stores
    from finesweep.inference.rows import table_of_file
    from finesweep.inference.writing import write

    predictions, origin, notes = judge_rows(
        model, partial(table_of_file, file), Stores(storage, tracking), overrides, keep or None, template
    )
    for note in notes:
        show(note, sys.stderr)
    write(predictions, out)
    show(f"{out}: {len(predictions.written):,} rows predicted by {origin.shown}")
