"""The table of a study's running trials, with the study's totals below it."""

import socket
from collections import Counter

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from finesweep.io.terminal import printable
from finesweep.machine.process import ProcessIdentity
from finesweep.monitor import eta
from finesweep.monitor.events import best_so_far, marks, point
from finesweep.monitor.snapshot import Snapshot, take_snapshot
from finesweep.monitor.states import CONTINUED, GIVEN_UP, PAUSED
from finesweep.monitor.wording import clock, number
from finesweep.study.records import Progress, TrialRecord

STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
OTHER_LINES = 8  # heading, totals and notes, which must stay on the screen when there are many workers
NARROW = 100  # columns
WIDE = 160  # columns of a table that goes into a file or a pipe


def print_running(study: Study) -> None:
    """Prints the table of running trials to stdout; nothing when none runs."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(WIDE, console.width)
    snapshot = take_snapshot(study)
    if not snapshot.running:
        return
    with console.capture() as drawn:
        console.print(running_table(snapshot, console.width))
    print("\n".join(["", *(line.rstrip() for line in drawn.get().splitlines())]))


def live_table(snapshot: Snapshot, console: Console, notes: list[str]) -> RenderableType:
    """Builds the display: running trials as far as there is room, totals, and current notes."""
    rows = max(1, console.height - OTHER_LINES)
    table = (
        running_table(snapshot, console.width, rows) if snapshot.running else Text(_nothing_runs(snapshot))
    )
    more = [f"... and {len(snapshot.running) - rows} more"] if len(snapshot.running) > rows else []
    lines = [Text(printable(line)) for line in (*more, *totals(snapshot))]
    return Group(table, *lines, *(Text(note, style="bold yellow") for note in notes))


def _nothing_runs(snapshot: Snapshot) -> str:
    if snapshot.is_starting:
        return "the workers are starting"
    if snapshot.search_is_over and snapshot.confirmed == snapshot.to_confirm:
        return "no trial is running; at the end the best one predicts, and the plots are drawn"
    return "no trial is running"


def running_table(snapshot: Snapshot, width: int, rows: int | None = None) -> Table:
    table = _columns(snapshot.watched, width)
    for trial in snapshot.running[:rows]:
        table.add_row(*(Text(printable(cell)) for cell in _row(snapshot, trial, width)))
    return table


def _columns(metric: str, width: int) -> Table:
    between = 2 if width >= NARROW else 1
    table = Table(box=None, pad_edge=False, padding=(0, between, 0, 0), expand=True)
    table.add_column("worker", no_wrap=True)
    for heading in ("trial", "epoch", "step", "examples/s" if width >= NARROW else "ex/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(Text(printable(metric)), justify="right", no_wrap=True, max_width=max(8, width // 10))
    table.add_column("ETA", justify="right", no_wrap=True)
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)  # what is left
    return table


def _row(snapshot: Snapshot, trial: FrozenTrial, width: int) -> tuple[str, ...]:
    record = TrialRecord(trial)
    progress = record.progress or Progress()
    lost = _lost(snapshot, trial)
    return (
        _worker(str(record.owner), 12 if width >= NARROW else 6),
        str(trial.number),
        "-" if progress.epoch is None else f"{progress.epoch:.2f}",
        "-" if progress.step is None else f"{progress.step}/{progress.max_steps}",
        "-" if progress.examples_per_s is None else f"{progress.examples_per_s:.0f}",
        "-" if progress.value is None else number(progress.value),
        "-" if lost else clock(eta.of_trial(snapshot, trial)),
        lost or _about(trial),
    )


def _lost(snapshot: Snapshot, trial: FrozenTrial) -> str:
    """Says why a trial does not go on; an empty text if its worker is at work."""
    if snapshot.is_gone(trial):
        return "its worker is gone"
    unheard = snapshot.now - (TrialRecord(trial).heartbeat or snapshot.now)
    return f"its worker is silent for {clock(unheard)}" if snapshot.is_silent(trial) else ""


def _worker(owner: str, room: int) -> str:
    """Gives the owner's pid, on another host behind the end of that host's name, which tells hosts apart."""
    process = ProcessIdentity.parse(owner)
    host, pid = process.host, process.pid
    return pid if host == socket.gethostname() else f"{host.partition('.')[0][-room:]}:{pid}"


def _about(trial: FrozenTrial) -> str:
    return ": ".join(filter(None, [marks(trial, noun=""), point(trial)]))


def totals(snapshot: Snapshot) -> list[str]:
    by_state = Counter(snapshot.states.values())
    names = [state.name for state in STATES]
    names += [name for name in (PAUSED, CONTINUED, GIVEN_UP) if by_state[name]]
    counts = (f"{name} {by_state[name]}" for name in names)
    parts = [f"{snapshot.finished}/{snapshot.n_trials} finished"]
    if snapshot.to_confirm:
        parts.append(f"{snapshot.confirmed}/{snapshot.to_confirm} confirming")
    parts.append(best_so_far(snapshot) or "no result yet")
    times = f"elapsed {clock(snapshot.elapsed_s)} | ETA {clock(eta.of_study(snapshot))}"
    return ["  ".join(counts), " | ".join(parts), times]
