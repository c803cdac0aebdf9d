"""Formats conditions, verdicts and seed spreads for the terminal."""

from collections.abc import Sequence

from finesweep.io.terminal import aligned
from finesweep.provenance.differences import brief
from finesweep.provenance.fields import Change
from finesweep.reproduce.seeds import SeedSpread
from finesweep.reproduce.together import Remade
from finesweep.reproduce.verdict import EXACT, MetricRow, Verdict

WIDEST = 44  # characters of one cell
MOST = 8  # names listed in a line


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Aligns the cells of all rows in columns, and shortens long ones. The first row is the header."""
    cut = [[cell if len(cell) <= WIDEST else cell[: WIDEST - 3] + "..." for cell in row] for row in rows]
    return aligned(cut)


def conditions(changes: Sequence[Change]) -> str:
    """Lists what differs from the record; differences that may change the result come first."""
    if not changes:
        return "conditions: as recorded"
    matter = [change for change in changes if change.may_matter]
    rows = [(change.what, brief(change.then), brief(change.now)) for change in matter]
    hints = [change.what for change in changes if not change.may_matter]
    table = "conditions: what differs and may change the result\n" + columns([("what", "then", "now"), *rows])
    more = f", and {len(hints) - MOST} more" if len(hints) > MOST else ""
    harmless = f"conditions: also different, which should not matter: {', '.join(hints[:MOST])}{more}"
    return "\n".join(text for text, shown in ((table, rows), (harmless, hints)) if shown)


def verdict(verdict: Verdict) -> str:
    """Formats the metrics that differ, a count of the equal ones, weights, predictions and the verdict."""
    lines = [*_metrics(verdict.metrics), f"weights: {_equal(verdict.weights)}"]
    lines += [f"predictions, {name}: {_equal(pair)}" for name, pair in verdict.predictions.items()]
    lines += [f"verdict: {verdict.verdict}"]
    if verdict.verdict != EXACT:
        lines += [f"tolerance: {verdict.tolerance:g}", f"likely cause: {verdict.cause}"]
    lines += [f"the new run failed: {verdict.error}"] if verdict.error else []
    return "\n".join([*lines, f"run: {verdict.reproduction_run_id}"])


def _metrics(rows: Sequence[MetricRow]) -> list[str]:
    different = [row for row in rows if row.then != row.now]
    if not different:
        return [f"metrics: all {len(rows)} values equal"]
    table = columns([("metric", "step", "then", "now", "difference"), *map(_metric, different)])
    return [table, "", f"metrics: {len(rows) - len(different)} of {len(rows)} values equal"]


def _metric(row: MetricRow) -> tuple[str, ...]:
    step = "" if row.step is None else str(row.step)
    return row.name, step, _number(row.then), _number(row.now), _difference(row.then, row.now)


def _difference(then: float | None, now: float | None) -> str:
    if then is None or now is None:
        return "missing"
    return f"{now - then:.3g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _equal(pair: dict[str, str | None]) -> str:
    then, now = pair["then"], pair["now"]
    if then is None and now is None:
        return "not kept"
    return f"equal ({brief(then)})" if then == now else f"DIFFERENT ({brief(then)} then, {brief(now)} now)"


def remade(again: Remade) -> str:
    """Formats the verdict of each member of an ensemble, and whether the files are the same."""
    rows = [(one.run_id, one.verdict, one.reproduction_run_id) for one in again.members]
    lines = [columns([("member", "verdict", "new run"), *rows]), ""]
    lines += [f"predictions, {name}: {_equal(pair)}" for name, pair in again.files.items()]
    return "\n".join([*lines, f"verdict: {again.verdict}"])


def seed_spread(spread: SeedSpread) -> str:
    """Formats the value of each seed, their mean and spread, and where the run's own value lies."""
    rows = [
        (str(seed.seed), "diverged" if seed.value is None else f"{seed.value:.4f}", seed.run_id)
        for seed in spread.seeds
    ]
    lines = [columns([("seed", spread.metric, "run"), *rows]), ""]
    mean = "" if spread.mean is None else f"mean {spread.mean:.4f}"
    std = "" if spread.std is None else f", std {spread.std:.4f}"
    lines += [f"{len(rows)} new seeds: {mean}{std}; the run itself: {spread.value:.4f}"]
    lines += [f"better than the run itself: {spread.better} of {len(rows)}"]
    if spread.interval is not None:
        low, high = spread.interval
        unusual = "outside: its seed was a lucky or an unlucky one"
        where = unusual if spread.luck else "within: an ordinary seed"
        lines += [f"one more run would lie in {low:.4f} to {high:.4f}, 19 times of 20; this one is {where}"]
    return "\n".join(lines)
