"""The `finesweep` command: what a study found, and what to hand in.

finesweep status STUDY [--watch]      finesweep best STUDY      finesweep ui
finesweep submit STUDY [STUDY ...] --out DIR [--zip] [--fill-missing]
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finesweep.config import TrackingConfig
from finesweep.entry import guarded
from finesweep.errors import ConfigError, NotValid, StudyError, SubmissionError
from finesweep.sweep.config import StudyConfig

STORAGE, TRACKING = StudyConfig().storage, TrackingConfig().uri


def main() -> int:
    """Exit code 0 done, 1 the answer is no, 2 unusable input."""
    arguments = _parser().parse_args()
    verb: Callable[[argparse.Namespace], None] = arguments.verb
    return guarded(lambda: verb(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="finesweep", description="Studies of python train.py -m, afterwards."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, verb: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=about, description=about)
        added.set_defaults(verb=verb)
        return added

    for name, verb, about in (
        ("status", status, "How many trials are done, running, failed; the best so far."),
        ("best", best, "The best trial: what, how good, and the command that re-runs it."),
    ):
        one = add(name, verb, about)
        one.add_argument("study")
        _add_reading(one)
        if verb is status:
            one.add_argument("--watch", action="store_true", help="until nobody is at work on it any more")
    several = add("submit", submit, "Validated submission files of the studies' best trials.")
    several.add_argument("studies", nargs="+", metavar="STUDY")
    several.add_argument("--out", type=Path, required=True, metavar="DIR")
    several.add_argument("--zip", action="store_true", help="also DIR/submission.zip, as the server takes it")
    several.add_argument(
        "--fill-missing", action="store_true", help="majority-class files for the tasks without a study"
    )
    _add_reading(several)
    opened = add("ui", ui, "MLflow's own UI on the store of the runs, on this machine only.")
    opened.add_argument("--tracking-uri", default=TRACKING, help=f"default: {TRACKING}")
    opened.add_argument("--port", type=int, default=5000)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage", default=STORAGE, help=f"where the studies are; default: {STORAGE}")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else there")


def status(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError, StudyError; KeyboardInterrupt, which ends the watching alone."""
    if arguments.watch and arguments.json:
        raise ConfigError("--watch: a table for people, not with --json; give one of the two")
    from finesweep.sweep import progress, report, study, table

    loaded = study.load(arguments.study, arguments.storage)
    found = report.describe(loaded)
    if arguments.json:
        _print_json(asdict(found))
        return
    if arguments.watch:
        progress.follow(loaded, arguments.storage)
        found = report.describe(loaded)
    report.print_summary(found)
    table.print_running(loaded)


def best(arguments: argparse.Namespace) -> None:
    from finesweep.sweep import report, study

    found = report.best(study.load(arguments.study, arguments.storage))
    if arguments.json:
        _print_json(asdict(found))
    else:
        print("\n".join(report.lines(found)))


@dataclass
class Submitted:
    """One row of `finesweep submit --json`; fields may be added, these stay."""

    task: str  # the file's name without .tsv: MNLI-m
    path: str
    rows: int
    valid: bool
    study: str | None  # None: filled with the majority class
    run_id: str | None
    problem: str | None = None  # why it is not valid


def submit(arguments: argparse.Namespace) -> None:
    """Raises: StudyError before anything is written; NotValid for files that the server would refuse."""
    from finesweep.submission import GLUE_FILES, fill_missing, zip_submission

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
        _print_json({"files": [asdict(row) for row in rows], "missing": missing})
    else:
        _print_submitted(rows, missing, archive if arguments.zip and not invalid else None)
    if invalid:
        raise NotValid("; ".join(invalid))


def _copy(path: Path, target: Path) -> Path:
    return path if path.resolve() == target.resolve() else Path(shutil.copyfile(path, target))


def _checked(path: Path, study: str | None = None, run_id: str | None = None) -> Submitted:
    from finesweep.submission import validate_submission

    try:
        return Submitted(path.stem, str(path), validate_submission(path).rows, True, study, run_id)
    except SubmissionError as error:
        rows = path.read_text(encoding="utf-8").count("\n") - 1
        return Submitted(path.stem, str(path), rows, False, study, run_id, str(error))


def _sources(names: list[str], storage: str) -> dict[Path, tuple[str, str]]:
    """Each submission file, with the study and run that it comes from."""
    from finesweep.sweep import report, study

    sources: dict[Path, tuple[str, str]] = {}
    for name in names:
        loaded = study.load(name, storage)
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
        origin = f"study {row.study}, run {row.run_id}" if row.study else "FILLED with the majority class"
        print(f"{row.path}  {row.rows} rows, {'valid' if row.valid else 'NOT VALID'}, {origin}")
    if missing:
        print(
            f"no study for: {', '.join(missing)}; the server wants all; --fill-missing adds majority classes"
        )
    if archive:
        print(archive)


def ui(arguments: argparse.Namespace) -> None:
    """Serves until interrupted; bound to 127.0.0.1, for MLflow's UI has no authentication."""
    from finesweep.tracking import open_store

    path = Path(arguments.tracking_uri.removeprefix("sqlite:///"))
    if arguments.tracking_uri.startswith("sqlite:///") and not path.exists():
        raise StudyError(f"{path}: not there; go to where train.py ran, or name it: --tracking-uri")
    open_store(TrackingConfig(uri=arguments.tracking_uri))  # fails here rather than in the UI
    print(f"http://127.0.0.1:{arguments.port}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
        "false"  # a dozen processes that comparing runs needs not
    )
    server = ["mlflow", "server", "--backend-store-uri", arguments.tracking_uri, "--workers", "1"]
    address = ["--host", "127.0.0.1", "--port", str(arguments.port)]
    os.execv(sys.executable, [sys.executable, "-m", *server, *address])


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    sys.exit(main())
