"""`finesweep submit`: writes the files that a benchmark's server accepts."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_json
from finesweep.errors import NotValid, OutputError, StudyError, SubmissionError
from finesweep.io.output import can_write, user
from finesweep.io.terminal import argument, show


@dataclass
class Submitted:
    """One row of `finesweep submit --json`; fields may be added, these stay."""

    task: str  # the file's name without .tsv: MNLI-m
    path: str
    rows: int
    valid: bool
    storage: str | None  # None: filled with the majority class
    run_id: str | None
    problem: str | None = None  # why it is not valid


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY ...", shell_complete=completing.studies)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of the files."
)
@click.option(
    "--zip", "as_zip", is_flag=True, help="Write DIR/submission.zip too, for the benchmark's server."
)
@click.option("--fill-missing", is_flag=True, help="Add majority-class files for the tasks without a study.")
@options.storage
@options.as_json
def submit(
    studies: tuple[str, ...], out: Path, as_zip: bool, fill_missing: bool, storage: str, as_json: bool
) -> None:
    """Write validated submission files for a benchmark's server.

    They hold the predictions of the best trial of each STUDY.
    """
    from finesweep.tasks import glue_submission

    sources = _sources(studies, storage)  # raises before anything is written
    _make(out)
    rows = [_checked(_copy(path, out / path.name), *origin) for path, origin in sources.items()]
    missing = [
        file.name for file in glue_submission.GLUE_FILES if file.name not in {row.task for row in rows}
    ]
    if fill_missing:
        rows += [_checked(path) for path in glue_submission.fill_missing(out, {row.task for row in rows})]
        missing = []
    invalid = [str(row.problem) for row in rows if not row.valid]
    archive = out / "submission.zip" if as_zip and not invalid else None
    if archive:
        glue_submission.zip_submission([Path(row.path) for row in rows], archive)
    if as_json:
        print_json({"files": [asdict(row) for row in rows], "missing": missing})
    else:
        _print_submitted(rows, missing, archive)
    if invalid:
        raise NotValid("; ".join(invalid))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"--out: cannot write {folder} ({error.strerror}); legal: another folder"
        ) from error
    if not can_write(folder):
        raise OutputError(f"--out: user {user()} cannot write {folder}; legal: another folder")


def _copy(path: Path, target: Path) -> Path:
    return path if path.resolve() == target.resolve() else Path(shutil.copyfile(path, target))


def _checked(path: Path, storage: str | None = None, run_id: str | None = None) -> Submitted:
    from finesweep.tasks.glue_submission import validate_submission

    try:
        return Submitted(path.stem, str(path), validate_submission(path).rows, True, storage, run_id)
    except SubmissionError as error:
        rows = path.read_bytes().count(b"\n") - 1
        return Submitted(path.stem, str(path), rows, False, storage, run_id, str(error))


def _sources(names: tuple[str, ...], address: str) -> dict[Path, tuple[str, str]]:
    """Maps each submission file to the study and the run that it comes from.

    Raises: StudyError for a study without a submission, and for two studies of one task.
    """
    sources: dict[Path, tuple[str, str]] = {}
    for name in names:
        run_id, paths = _submissions(name, address)
        for path in paths:
            if earlier := [origin[0] for known, origin in sources.items() if known.name == path.name]:
                raise StudyError(
                    f"{path.name}: from study {earlier[0]!r} and from {name!r}; name one of them"
                )
            sources[path] = (name, run_id)
    return sources


def _submissions(name: str, address: str) -> tuple[str, list[Path]]:
    """Returns the id of the best trial's run, and its submission files."""
    from finesweep.monitor import report
    from finesweep.study.reading import read_study
    from finesweep.study.records import StudyRecord

    study = read_study(name, address)
    best = report.best(study)
    if StudyRecord(study).glue_task is None:
        raise StudyError(f"study {name!r}: no GLUE task; its predictions: {', '.join(best.submissions)}")
    paths = [Path(path) for path in best.submissions]
    if not paths or not all(path.is_file() for path in paths):
        raise StudyError(
            f"study {name!r}: no submission; it is not finished, has no test split, or its folder "
            f"is gone; see: finesweep status {argument(name)}"
        )
    return best.run_id, paths


def _print_submitted(rows: list[Submitted], missing: list[str], archive: Path | None) -> None:
    for row in rows:
        origin = f"study {row.storage}, run {row.run_id}" if row.storage else "FILLED with the majority class"
        show(f"{row.path}  {row.rows} rows, {'valid' if row.valid else 'NOT VALID'}, {origin}")
    if missing:
        remedy = "the server needs all tasks; --fill-missing adds majority-class files"
        show(f"no study for: {', '.join(missing)}; {remedy}")
    if archive:
        show(archive)
