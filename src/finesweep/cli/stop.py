"""`finesweep stop`: ends a trial, or has all workers of a study save and hand their trials back."""

import re
from typing import TYPE_CHECKING, Any

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer

if TYPE_CHECKING:
    from finesweep.study.opened import OpenedStudy

ONE_TRIAL = re.compile(r"(.+)#(\d+)")  # STUDY#7


@click.command()
@click.argument("study", metavar="STUDY|STUDY#TRIAL", shell_complete=completing.studies)
@options.storage
@options.as_json
def stop(study: str, storage: str, as_json: bool) -> None:
    """Stop a trial, or all work on a study.

    STUDY#7 ends trial 7 at its next step: it is PRUNED, keeps its evaluations, and is not tried again. A
    trial that waits leaves the queue, and one that is paused goes on no more. STUDY has all its workers, on
    all hosts, save and hand their trials back.
    """
    from finesweep.study.steering import open_for_steering

    named = ONE_TRIAL.fullmatch(study)
    opened = open_for_steering(named[1] if named else study, storage)
    document, text = _stop_trial(opened, int(named[2])) if named else _stop_all(opened)
    print_answer(as_json, document, text)


def _stop_trial(opened: "OpenedStudy", number: int) -> tuple[dict[str, Any], str]:
    """Raises: NotSteered if the trial has ended."""
    from finesweep.monitor.steering import who_goes_on
    from finesweep.study.steering import stop_trial

    state = opened.patience.call(stop_trial, opened, number).name
    does = {"WAITING": "leaves the queue", "PRUNED": "was paused, and goes on no more"}.get(state)
    does = does or f"ends at its next step; {who_goes_on(opened.study)}"
    return {"study": opened.name, "trial": number, "state": state}, f"trial {number} of {opened.name} {does}"


def _stop_all(opened: "OpenedStudy") -> tuple[dict[str, Any], str]:
    from finesweep.monitor.steering import at_work, worker_command
    from finesweep.study.steering import halt

    opened.patience.call(halt, opened)
    working, again = at_work(opened.study), worker_command(opened.study)
    does = f"its workers save and hand their trials back ({working})"
    nobody = "no worker runs a trial; those that were started before and have yet to begin will take none"
    text = f"study {opened.name}: {does if working else nobody}; to go on: {again}"
    return {"study": opened.name, "working": working}, text
