"""A study's results as artifacts of its parent run: the best trial, the Pareto front, the plots."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from optuna.study import Study

from finesweep.monitor.plots import draw
from finesweep.monitor.report import best
from finesweep.tracking import TrackedRun


def publish(study: Study, parent: TrackedRun, found: Mapping[str, Any] | None = None) -> None:
    """Logs best.json, pareto.json and plots/. `found`: submissions and metrics of the finish step."""
    document = best(study)
    if found:
        submissions = list(found["submissions"])
        document = replace(
            document,
            submission=next(iter(submissions), None),
            submissions=submissions,
            final_metrics=dict(found["metrics"]),
        )
    parent.log_text(json.dumps(asdict(document), indent=1) + "\n", "best.json")
    if document.pareto:
        parent.log_text(json.dumps(document.pareto, indent=1) + "\n", "pareto.json")
    with tempfile.TemporaryDirectory() as folder:
        for path in draw(study, Path(folder)):
            parent.log_file(path, "plots")
