"""Formats conditions, verdicts and seed spreads for the terminal."""

from collections.abc import Sequence

from finesweep.provenance.differences import brief
from finesweep.provenance.fields import Change
from finesweep.reproduce.seeds import SeedSpread
from finesweep.reproduce.verdict import EXACT, MetricRow, Verdict

WIDEST = 44  # characters of one cell
MOST = 8  # names listed in a line


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Cells in aligned columns, the first row as the header."""
    cut = [[cell if len(cell) <= WIDEST else cell[: WIDEST - 3] + "..." for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cut
    )


def conditions(changes: Sequence[Change]) -> str:
    """Lists what differs from the record; differences that may change the result come first."""
    if not changes:
        return "conditions: as recorded"
    matter = [change for change in changes if change.may_matter]
    rows = [(change.what, brief(change.then), brief(change.now)) for change in matter]
    hints = [change.what for change in changes if not change.may_matter]
    table = "conditions: what differs and may change the result\n" + columns([("what", "then", "now"), *rows])
    more = f", and {len(hints) - MOST} more" if len(hints) > MOST else ""
    other = f"conditions: also different, which should not matter: {', '.join(hints[:MOST])}{more}"
    return "\n".join(text for text, shown in ((table, rows), (other, hints)) if shown)


def verdict(found: Verdict) -> str:
    table = columns([("metric", "step", "then", "now", "difference"), *map(_metric, found.metrics)])
    lines = [table, "", f"weights: {_equal(found.weights)}"]
    lines += [f"predictions, {name}: {_equal(pair)}" for name, pair in found.predictions.items()]
    lines += [f"verdict: {found.verdict}"]
    if found.verdict != EXACT:
        lines += [f"tolerance: {found.tolerance:g}", f"likely cause: {found.cause}"]
    lines += [f"it failed: {found.error}"] if found.error else []
    return "\n".join([*lines, f"run: {found.reproduction_run_id}"])


def _metric(row: MetricRow) -> tuple[str, ...]:
    step = "" if row.step is None else str(row.step)
    return row.name, step, _number(row.then), _number(row.now), _difference(row.then, row.now)


def _difference(then: float | None, now: float | None) -> str:
    if then is None or now is None:
        return "missing"
    return "" if then == now else f"{now - then:.3g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _equal(pair: dict[str, str | None]) -> str:
    then, now = pair["then"], pair["now"]
    if then is None and now is None:
        return "not kept"
    return f"equal ({brief(then)})" if then == now else f"DIFFERENT ({brief(then)} then, {brief(now)} now)"


def seed_spread(found: SeedSpread) -> str:
    values = ["diverged" if one.value is None else f"{one.value:.4f}" for one in found.seeds]
    rows = [(str(one.seed), value, one.run_id) for one, value in zip(found.seeds, values, strict=True)]
    lines = [columns([("seed", found.metric, "run"), *rows]), ""]
    spread = "" if found.std is None else f", std {found.std:.4f}"
    mean = "" if found.mean is None else f"mean {found.mean:.4f}"
    lines += [f"{len(rows)} new seeds: {mean}{spread}; the run itself: {found.value:.4f}"]
    lines += [f"better than the run itself: {found.better} of {len(rows)}"]
    if found.interval is not None:
        low, high = found.interval
        where = (
            "outside: its seed was a lucky or an unlucky one" if found.luck else "within: an ordinary seed"
        )
        lines += [f"one more run would lie in {low:.4f} to {high:.4f}, 19 times of 20; this one is {where}"]
    return "\n".join(lines)
