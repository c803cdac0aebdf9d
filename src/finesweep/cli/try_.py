"""`finesweep try`: queues a point of a person's own, which a worker takes next."""

from dataclasses import asdict

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer


@click.command("try")
@click.argument("study", shell_complete=completing.studies)
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE ...")
@options.storage
@options.as_json
def try_(study: str, values: tuple[str, ...], storage: str, as_json: bool) -> None:
    """Try a point next.

    The next worker that is free takes it, behind those that were tried before; the sampler chooses the keys
    that are left out. It counts as one of the study's trials.
    """
    from finesweep.io.terminal import argument
    from finesweep.monitor.steering import who_goes_on
    from finesweep.monitor.stores import storage_of
    from finesweep.monitor.wording import store_options
    from finesweep.study.budget import budgets, full
    from finesweep.study.grammar import parse_point
    from finesweep.study.records import StudyRecord
    from finesweep.study.steering import open_for_steering, try_point

    opened, point = open_for_steering(study, storage), parse_point(values)
    queued = opened.patience.call(try_point, opened, point)
    place = f"comes behind trial {queued.behind[-1]}" if queued.behind else "is next"
    lines = [f"trial {queued.trial} of {study} {place}: {' '.join(values)}"]
    if queued.known is not None:
        lines.append(
            f"trial {queued.known} has trained this point: its value counts again, nothing is trained"
        )
    if queued.drawn:
        lines.append(f"the sampler chooses: {', '.join(queued.drawn)}")
    if queued.in_place_of is not None:
        lines.append(f"trial {queued.in_place_of}, which waited with this point, leaves the queue")
    if used_up := full(opened.trials(), budgets(StudyRecord(opened.study))):
        more = f"finesweep extend {argument(study)} ...{store_options(storage=storage_of(opened.study))}"
        lines.append(f"it waits, for {used_up} is used up; more with: {more}")
    lines.append(who_goes_on(opened.study))
    print_answer(as_json, {"study": study} | asdict(queued), "\n".join(lines))
