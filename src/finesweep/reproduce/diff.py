"""Compares two recorded runs side by side."""

from dataclasses import dataclass

from finesweep.provenance.differences import brief, differences
from finesweep.provenance.fields import Change
from finesweep.reproduce.recorded_run import RecordedRun
from finesweep.reproduce.render import columns
from finesweep.reproduce.verdict import ONCE

SECTIONS = ("config", "data", "model", "code", "machine", "packages")


@dataclass(frozen=True)
class RunDiff:
    """The document of `finesweep diff --json`. Fields may be added, but none removed.

    In each change, `then` is the value of the first run.
    """

    run_ids: list[str]
    differences: list[Change]
    results: list[Change]  # also of equal values


def diff_runs(first: RecordedRun, second: RecordedRun) -> RunDiff:
    then, now = _results(first), _results(second)
    results = [Change("results", name, then.get(name), now.get(name)) for name in {**then, **now}]
    changes = differences(first.record, second.record, places=True)
    return RunDiff([first.run_id, second.run_id], changes, results)


def _results(recorded: RecordedRun) -> dict[str, object]:
    """Returns the scores of the best evaluation, the final scores, the predictions' and weights' hashes."""
    best = next((step for name, step in recorded.history if name == ONCE), None)
    scores = {
        name: value
        for (name, step), value in sorted(recorded.history.items())
        if (name.startswith("eval_") and step == best) or name.startswith("final_")
    }
    results = recorded.record.results
    predictions = {f"predictions, {name}": sha256 for name, sha256 in (results.predictions or {}).items()}
    at_step = {} if best is None else {"best evaluation at step": best}
    return {"state": recorded.state, **at_step, **scores, **predictions, "weights": results.weights_sha256}


def lines(diff: RunDiff, names: tuple[str, str]) -> str:
    """Formats what differs as one table for each section; `names` head the columns of the two runs."""
    different = [result for result in diff.results if result.then != result.now]
    changes = [*diff.differences, *different]
    tables = []
    for section in (*SECTIONS, "results"):
        rows = [change for change in changes if change.section == section]
        tables.append(_table(section, names, rows) if rows else f"{section}: the same")
    return "\n\n".join(
        [*tables, f"equal results: {len(diff.results) - len(different)} of {len(diff.results)}"]
    )


def _table(section: str, names: tuple[str, str], rows: list[Change]) -> str:
    cells = [(row.what, brief(row.then), brief(row.now)) for row in rows]
    return columns([(section, *names), *cells])
