"""Tries the kept checkpoints together, and submits their predictions where rows that chose nothing say so."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from finesweep.config.run import RunConfig, metric_key
from finesweep.io import checkpoint
from finesweep.io.atomic import write_text
from finesweep.machine.placement import take_idle_cores
from finesweep.study.certainty import DIFFERENT
from finesweep.study.ensemble import Ensembled
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.storage import best_first
from finesweep.tasks import Scorer, resampling
from finesweep.tracking import TrackedRun
from finesweep.training.ensembles import Together, greedy
from finesweep.training.inputs import load_inputs
from finesweep.training.predict import Predicted
from finesweep.training.soup import architecture
from finesweep.worker.retention import checkpoint_of

SOURCE = "source.json"  # beside the submission: what it was made of


def submit_together(
    queue: TrialQueue, best: FrozenTrial, config: RunConfig, single: Predicted, folder: Path,
    parent: TrackedRun,
) -> tuple[Ensembled, Predicted]:  # fmt: skip
    """Compares the kept checkpoints together with the winner alone, and submits what is better.

    single: what the winner scored and predicted. Returns what came of it, and what is submitted.
    """
    inputs = load_inputs(config)
    together = Together(queue.config.ensemble, config, inputs, take_idle_cores())
    sign = 1 if queue.study.directions[0] is StudyDirection.MAXIMIZE else -1
    kept, metric = dict(_candidates(queue, best)), metric_key(config.data.metric)
    members = greedy(together, list(kept), Scorer(inputs.task, inputs.names), metric, sign) if kept else []
    made = Ensembled(
        queue.config.ensemble.value, False, "no other kept checkpoint raises the score on rows that select",
        [kept[path].number for path in members], [str(TrialRecord(kept[path]).run_id) for path in members],
    )  # fmt: skip
    if len(members) < 2:
        return made, single
    made, scored = _compared(made, together, members, single, metric, sign)
    if not made.is_submitted:
        return made, single
    submitted = replace(scored, submissions=together.write(members, folder) if config.predict else [])
    made.files = submitted.hashes
    _log(made, submitted, parent)
    return made, submitted


def _candidates(queue: TrialQueue, best: FrozenTrial) -> Iterator[tuple[Path, FrozenTrial]]:
    """Yields whole kept checkpoints of the winner's architecture, with their trials; the winner's first."""
    wanted = None
    for trial in dict.fromkeys([best.number, *(trial.number for trial in best_first(queue.study))]):
        found = queue.trial(trial)
        path = checkpoint_of(found, queue.places)
        if path is None or not path.is_dir() or checkpoint.find_damage(path):
            continue
        wanted = wanted or architecture(path)
        if wanted and architecture(path) == wanted:
            yield path, found


def _compared(
    made: Ensembled, together: Together, members: list[Path], single: Predicted, metric: str, sign: int
) -> tuple[Ensembled, Predicted]:
    """Compares the members with the winner on rows that chose nothing. Also returns their final scores."""
    rows, alone = together.final_rows(), single.scorer
    assert rows is not None and alone is not None and alone.evaluated is not None  # `check_ensemble`
    scorer = Scorer(together.inputs.task, together.inputs.names)
    scores = together.scored(members, rows, scorer)
    assert scorer.evaluated is not None
    judged = [scorer.judged(one.scores, one.references) for one in (scorer.evaluated, alone.evaluated)]
    p = resampling.p_value(scorer.metrics[metric], *judged)
    value, other = scores[metric], single.metrics[f"final_{metric}"]
    helps = sign * (value - other) > 0 and p < DIFFERENT
    reason = "better" if helps else "not better"
    made = replace(
        made, is_submitted=helps, value=value, single=other, p=p,
        reason=f"{reason} on the {len(rows)} rows that chose nothing",
    )  # fmt: skip
    return made, Predicted({f"final_{name}": score for name, score in scores.items()}, [], scorer)


def _log(made: Ensembled, submitted: Predicted, parent: TrackedRun) -> None:
    """Logs the submission and its scores in the study's run, and what it was made of."""
    parent.log_metrics(submitted.metrics, step=1)  # those of step 0 are the winner's
    for path in submitted.submissions:
        parent.log_file(path, "submission")
    for path in submitted.submissions[:1]:
        source = path.parent / SOURCE
        write_text(source, json.dumps(made.dump(), indent=2) + "\n")
        parent.log_file(source, "submission")
