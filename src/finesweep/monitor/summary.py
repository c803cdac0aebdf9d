"""Writes a study's status and its best trial as text for a person."""

from typing import Any

from finesweep.io.job_secrets import VARIABLE_PREFIX
from finesweep.io.terminal import argument, show
from finesweep.monitor import hosts
from finesweep.monitor.certainty import best_of_n, ensembled, finally_scored, how_sure, lead
from finesweep.monitor.report import Best, Confirmed, Status
from finesweep.monitor.wording import command_lines, number, row_lines, scalar, store_options
from finesweep.study.certainty import Certainty
from finesweep.study.ensemble import Ensembled

STEERED = 5  # requests that a summary shows, the last ones; --json has all


def lines(best: Best) -> list[str]:
    """Writes the lines that `finesweep best` prints for a person."""
    rows = [
        ("best", f"{best.score or best.metric} {number(best.value)} (trial {best.trial})"),
        *(("confirmed", text) for text in _confirmed(best)),
        *(("pareto front", _point(point)) for point in best.pareto),
        ("parameters", _pairs(best.params)),
        *(("how sure", text) for text in how_sure(best)),
        ("best of n", best_of_n(best)),
        ("ensemble", ensembled(best.ensemble)),
        ("final score", "  ".join(map("=".join, finally_scored(best)))),
        ("run", best.run_id),
        ("checkpoint", best.checkpoint or ""),
        ("submission", ", ".join(best.submissions)),
    ]
    return [*row_lines(rows), *_commands(best)]


def _commands(best: Best) -> list[str]:
    """Writes the commands that a person wants next, each alone in its line, to be copied whole."""
    runs = store_options(tracking_uri=best.tracking_uri)
    both = store_options(storage=best.storage, tracking_uri=best.tracking_uri)
    with_secrets = f", with {VARIABLE_PREFIX}... set to what was given then"
    return command_lines(
        {
            f"run it again{with_secrets if VARIABLE_PREFIX in best.command else ''}": best.command,
            "prove it": f"finesweep reproduce {best.run_id}{runs}",
            "predict other rows": f"finesweep predict {best.run_id}{both} FILE --out predictions.csv",
        }
    )


def _confirmed(best: Best) -> list[str]:
    rows = [
        f"trial {one.trial}: mean {number(one.mean)}, "
        f"std {'-' if one.std is None else number(one.std)}, n={one.n} new seeds"
        for one in best.confirmed
    ]
    return [*rows, *filter(None, [lead(best)])]


def _point(point: dict[str, Any]) -> str:
    return f"trial {point['trial']}: {_pairs(point['values'])}  at {_pairs(point['params'])}"


def _pairs(values: dict[str, Any]) -> str:
    return "  ".join(f"{key}={scalar(value)}" for key, value in values.items())


def print_summary(status: Status) -> None:
    """Prints what `finesweep status` shows, which a sweep prints at its end, too."""
    counts = "  ".join(f"{name} {count}" for name, count in status.outcomes.items())
    show(f"\nstudy {status.study}: {status.finished} of {status.n_trials} trials finished ({counts})")
    if status.ended_by:
        spent = f"{status.seconds:.0f} s, {status.train_steps:,} training steps"
        show(f"{'ended by:':14}{status.ended_by}; {spent}")
    known = [hosts.Worker(**worker) for worker in status.workers]
    if working := hosts.at_work(known):
        show(f"{'workers:':14}{working}")
    _print_steered(status)
    for worker in hosts.stranded(known):
        show(f"{'stranded:':14}{hosts.lost(worker)}")
    if status.reused:
        show(f"{'reused:':14}{status.reused} trials whose point had been evaluated before")
    for failure in status.failures:
        show(f"  failed: {failure}")
    if status.importances:
        show(
            f"{'importance:':14}{_pairs({key: round(share, 2) for key, share in status.importances.items()})}"
        )
    if status.best:
        show("\n".join(lines(_best(status.best))))
    store = store_options(tracking_uri=status.tracking_uri)
    show("\n".join(command_lines({"compare the runs": f"finesweep ui{store} {argument(status.study)}"})))


def _print_steered(status: Status) -> None:
    """Prints what people asked of the study, and what is not as a command left it."""
    for asked in status.steered[-STEERED:]:
        show(f"{'steered:':14}{asked['what']} ({asked['user']} on {asked['host']}, {asked['time'][:16]})")
    if status.outside:
        show(f"{'history:':14}{status.outside} finished trials lie outside of the edited space")
    if status.halted:
        show(f"{'stopped:':14}all work, by a person; the same command, or finesweep worker, goes on")


def _best(plain: dict[str, Any]) -> Best:
    certainty, confirmed = plain["certainty"], [Confirmed(**one) for one in plain["confirmed"]]
    certainty = None if certainty is None else Certainty.load(certainty)
    ensemble = None if plain["ensemble"] is None else Ensembled.load(plain["ensemble"])
    return Best(**plain | {"confirmed": confirmed, "certainty": certainty, "ensemble": ensemble})
