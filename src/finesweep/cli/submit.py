"""`finesweep submit`: the files that a benchmark's server takes."""

import argparse
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from finesweep.cli.output import print_json
from finesweep.errors import NotValid, StudyError, SubmissionError


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


def submit(arguments: argparse.Namespace) -> None:
    """Raises: StudyError before anything is written; NotValid for files that the server would refuse."""
    from finesweep.tasks.glue_submission import GLUE_FILES, fill_missing, zip_submission

    sources = _sources(arguments.studies, arguments.storage)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [_checked(_copy(path, arguments.out / path.name), *origin) for path, origin in sources.items()]
    missing = [file.name for file in GLUE_FILES if file.name not in {row.task for row in rows}]
    if arguments.fill_missing:
        rows += [_checked(path) for path in fill_missing(arguments.out, {row.task for row in rows})]
        missing = []
    archive = arguments.out / "submission.zip"
    invalid = [str(row.problem) for row in rows if not row.valid]
    if arguments.zip and not invalid:
        zip_submission([Path(row.path) for row in rows], archive)
    if arguments.json:
        print_json({"files": [asdict(row) for row in rows], "missing": missing})
    else:
        _print_submitted(rows, missing, archive if arguments.zip and not invalid else None)
    if invalid:
        raise NotValid("; ".join(invalid))


def _copy(path: Path, target: Path) -> Path:
    return path if path.resolve() == target.resolve() else Path(shutil.copyfile(path, target))


def _checked(path: Path, storage: str | None = None, run_id: str | None = None) -> Submitted:
    from finesweep.tasks.glue_submission import validate_submission

    try:
        return Submitted(path.stem, str(path), validate_submission(path).rows, True, storage, run_id)
    except SubmissionError as error:
        rows = path.read_text(encoding="utf-8").count("\n") - 1
        return Submitted(path.stem, str(path), rows, False, storage, run_id, str(error))


def _sources(names: list[str], address: str) -> dict[Path, tuple[str, str]]:
    """Each submission file, with the study and run that it comes from."""
    from finesweep.monitor import report
    from finesweep.study import storage

    sources: dict[Path, tuple[str, str]] = {}
    for name in names:
        loaded = storage.load(name, address)
        found = report.best(loaded)
        if loaded.user_attrs["glue_task"] is None:
            raise StudyError(f"study {name!r}: no GLUE task; its predictions: {', '.join(found.submissions)}")
        if not found.submissions or not all(Path(path).is_file() for path in found.submissions):
            raise StudyError(
                f"study {name!r}: no submission; it is not finished, has no test split, or its folder "
                f"is gone; see: finesweep status {name}"
            )
        for path in map(Path, found.submissions):
            if twice := [origin[0] for other, origin in sources.items() if other.name == path.name]:
                raise StudyError(f"{path.name}: from study {twice[0]!r} and from {name!r}; name one of them")
            sources[path] = (name, found.run_id)
    return sources


def _print_submitted(rows: list[Submitted], missing: list[str], archive: Path | None) -> None:
    for row in rows:
        origin = f"study {row.storage}, run {row.run_id}" if row.storage else "FILLED with the majority class"
        print(f"{row.path}  {row.rows} rows, {'valid' if row.valid else 'NOT VALID'}, {origin}")
    if missing:
        print(
            f"no study for: {', '.join(missing)}; the server wants all; --fill-missing adds majority classes"
        )
    if archive:
        print(archive)
