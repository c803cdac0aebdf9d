"""Completes, at a TAB, what only a store knows: the names of studies and the ids of runs."""

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from io import StringIO

import click
from click.shell_completion import BashComplete, CompletionItem

from finesweep.config.study import StudyConfig

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class Bash(BashComplete):
    """Is click's script for bash, but that it puts no space behind a `key=`, whose value is to follow."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace"
    )


def _study_names(storage: str) -> Iterator[str]:
    from finesweep.study.reading import read_studies

    yield from (study.study_name for study in read_studies(storage))


def _run_ids(storage: str) -> Iterator[str]:
    from finesweep.study.reading import read_studies
    from finesweep.study.records import TrialRecord

    for study in read_studies(storage):
        yield from filter(None, (TrialRecord(trial).run_id for trial in study.get_trials(deepcopy=False)))


def _completing(*sources: Callable[[str], Iterator[str]], files: bool = False) -> Complete:
    """Returns what completes an argument from these; from files, too, if nothing else begins so."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        storage = context.params.get("storage") or StudyConfig().storage
        found: list[str] = []
        with suppress(Exception), redirect_stderr(StringIO()):  # a TAB says nothing but names
            for source in sources:
                found += [name for name in source(storage) if name.startswith(incomplete)]
        if not found and files:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(name) for name in found]

    return complete


studies = _completing(_study_names)
runs = _completing(_run_ids, files=True)
checkpoints = _completing(_study_names, _run_ids, files=True)
