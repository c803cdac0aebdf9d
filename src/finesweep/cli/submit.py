"""`finesweep submit`: writes the files that a benchmark's server accepts."""

import shutil
from dataclasses import asdict, dataclass, replace
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
    together: str | None = None  # trials whose checkpoints predicted together; the run is the study's


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

    They hold the predictions of each STUDY: those of its best trial, or of its kept checkpoints together
    (study.ensemble).
    """
    from finesweep.tasks import glue_submission

    sources = _sources(studies, storage)  # raises before anything is written
    _make(out)
    rows = [
        replace(_checked(_copy(path, out / path.name)), storage=study, run_id=run_id, together=together)
        for path, (study, run_id, together) in sources.items()
    ]
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


def _checked(path: Path) -> Submitted:
    from finesweep.tasks.glue_submission import validate_submission

    try:
        return Submitted(path.stem, str(path), validate_submission(path).rows, True, None, None)
    except SubmissionError as error:
        rows = path.read_bytes().count(b"\n") - 1
        return Submitted(path.stem, str(path), rows, False, None, None, str(error))


def _sources(names: tuple[str, ...], address: str) -> dict[Path, tuple[str, str, str | None]]:
    """Maps each submission file to its study, its run, and the trials that predicted it together.

    Raises: StudyError for a study without a submission, and for two studies of one task.
    """
    sources: dict[Path, tuple[str, str, str | None]] = {}
    for name in names:
        run_id, together, paths = _submissions(name, address)
        for path in paths:
            if earlier := [origin[0] for known, origin in sources.items() if known.name == path.name]:
                raise StudyError(
                    f"{path.name}: from study {earlier[0]!r} and from {name!r}; name one of them"
                )
            sources[path] = (name, run_id, together)
    return sources


def _submissions(name: str, address: str) -> tuple[str, str | None, list[Path]]:
    """Returns the best trial's run, or the study's if several checkpoints predicted, these, and the files."""
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
    made, request = best.ensemble, StudyRecord(study).request
    if made and made.is_submitted and request:
        trials = ", ".join(map(str, made.members))
        return request.parent_run_id, f"{made.kind} of trials {trials}", paths
    return best.run_id, None, paths


def _print_submitted(rows: list[Submitted], missing: list[str], archive: Path | None) -> None:
    for row in rows:
        made_by = f"{row.together}, run" if row.together else "run"
        origin = "FILLED with the majority class"
        if row.storage:
            origin = f"study {row.storage}, {made_by} {row.run_id}"
        show(f"{row.path}  {row.rows} rows, {'valid' if row.valid else 'NOT VALID'}, {origin}")
    if missing:
        remedy = "the server needs all tasks; --fill-missing adds majority-class files"
        show(f"no study for: {', '.join(missing)}; {remedy}")
    if archive:
        show(archive)
