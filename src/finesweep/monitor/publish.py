"""Logs a study's results as artifacts of its parent run: the best trial, the Pareto front, the plots."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from optuna.study import Study

from finesweep.monitor.report import best
from finesweep.study.places import places_of
from finesweep.study.records import Conclusion
from finesweep.tracking import TrackedRun


def publish(study: Study, parent: TrackedRun, folder: Path, conclusion: Conclusion | None = None) -> None:
    """Logs best.json, pareto.json and plots/, with the submissions and metrics of the finish step.

    folder: of the study, which keeps the plots: MLflow may take them much later, out of the run's spool.
    """
    from finesweep.monitor.plots import draw  # matplotlib, for which no first step has to wait

    document = best(study)
    if conclusion:
        submissions = [str(places_of(study).find(path)) for path in conclusion.submissions]
        document = replace(
            document,
            submission=next(iter(submissions), None),
            submissions=submissions,
            final_metrics=conclusion.metrics,
            certainty=conclusion.certainty,
            ensemble=conclusion.ensemble,
        )
    parent.log_text(json.dumps(asdict(document), indent=1) + "\n", "best.json")
    if document.pareto:
        parent.log_text(json.dumps(document.pareto, indent=1) + "\n", "pareto.json")
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for path in draw(study, plots):
        parent.log_file(path, "plots")
