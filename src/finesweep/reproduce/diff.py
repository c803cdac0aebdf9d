"""Compares two recorded runs side by side."""

from dataclasses import dataclass

from finesweep.provenance.differences import Change, brief, differences
from finesweep.reproduce.recorded_run import RecordedRun
from finesweep.reproduce.render import columns
from finesweep.reproduce.verdict import ONCE

SECTIONS = ("config", "data", "model", "code", "machine", "packages")


@dataclass(frozen=True)
class RunDiff:
    """`finesweep diff --json`; fields may be added, these stay. `then` is the first run's."""

    run_ids: list[str]
    differences: list[Change]
    results: list[Change]  # all of them, equal or not


def diff_runs(one: RecordedRun, other: RecordedRun) -> RunDiff:
    then, now = _results(one), _results(other)
    results = [Change("results", name, then.get(name), now.get(name)) for name in {**then, **now}]
    changes = differences(one.record, other.record, places=True)
    return RunDiff([one.run_id, other.run_id], changes, results)


def _results(recorded: RecordedRun) -> dict[str, object]:
    """The best evaluation, the final score, what was predicted, and the weights."""
    found: dict[str, object] = {"state": recorded.state}
    best = next((step for name, step in recorded.history if name == ONCE), None)
    found |= {"best evaluation at step": best} if best is not None else {}
    for (name, step), value in sorted(recorded.history.items()):
        if (name.startswith("eval_") and step == best) or name.startswith("final_"):
            found[name] = value
    results = recorded.record.results
    found |= {f"predictions, {name}": hashed for name, hashed in results.get("predictions", {}).items()}
    return found | {"weights": results.get("weights_sha256")}


def lines(found: RunDiff, names: tuple[str, str]) -> str:
    parts = []
    for section in SECTIONS:
        rows = [change for change in found.differences if change.section == section]
        parts.append(_table(section, names, rows) if rows else f"{section}: the same")
    return "\n\n".join([*parts, _table("results", names, found.results)])


def _table(section: str, names: tuple[str, str], rows: list[Change]) -> str:
    cells = [(row.what, brief(row.then), brief(row.now), "" if row.then == row.now else "*") for row in rows]
    return columns([(section, *names, ""), *cells])
