"""A run as a person starts it: it is shown while it trains, and ends with a summary."""

from collections.abc import Sequence
from pathlib import Path

from finesweep.config.places import project
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.hooks import current_hooks
from finesweep.io.redaction import redact
from finesweep.io.terminal import show
from finesweep.provenance.record import is_result
from finesweep.training.run import RunResult, run


def run_shown(config: RunConfig, output_dir: Path, overrides: Sequence[str]) -> RunResult:
    """Runs; shows progress on stderr, and a summary at the end, if it is no trial. Raises: as `run`."""
    if current_hooks.get() is not None:
        return run(config, output_dir, overrides)
    from finesweep.monitor.training import showing_training

    with showing_training():
        result = run(config, output_dir, overrides)
    show("\n".join(["", *_summary(result, config.tracking)]))
    return result


def _summary(result: RunResult, tracking: TrackingConfig) -> list[str]:
    from finesweep.monitor.wording import command_lines, number, row_lines, store_options

    scores = result.metrics.items()
    final = {key: value for key, value in scores if key.startswith("final_") and is_result(key)}
    store = store_options(tracking_uri=redact(tracking.uri))
    rows = [
        ("score", f"{result.metric} {number(result.value)}" if result.value is not None else ""),
        ("final score", "  ".join(f"{key}={number(value)}" for key, value in final.items())),
        ("checkpoint", _place(result.checkpoint or "")),
        ("submission", ", ".join(map(_place, result.submissions))),
        ("run", str(result.run_id)),
    ]
    commands = {
        "prove it": f"finesweep reproduce {result.run_id}{store}",
        "predict other rows": f"finesweep predict {result.run_id}{store} FILE --out predictions.csv",
        "compare the runs": f"finesweep ui{store}",
    }
    return [*row_lines(rows), *command_lines(commands)]


def _place(path: str) -> str:
    """Writes a place in the project relative to it."""
    return str(Path(path).relative_to(project())) if path and Path(path).is_relative_to(project()) else path
