"""Tries the kept checkpoints together, and submits their predictions where rows that chose nothing say so."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from finesweep.config.run import RunConfig, metric_key
from finesweep.config.study import Ensemble
from finesweep.io import checkpoint
from finesweep.io.atomic import write_text
from finesweep.machine.placement import take_idle_cores
from finesweep.study.certainty import DIFFERENT
from finesweep.study.ensemble import Ensembled
from finesweep.study.queue import TrialQueue
from finesweep.study.ranking import best_first
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.tasks import Scorer, resampling
from finesweep.tracking import TrackedRun
from finesweep.training.ensembles import Together, greedy
from finesweep.training.inputs import load_inputs
from finesweep.training.predict import Predicted
from finesweep.training.soup import architecture
from finesweep.worker.retention import checkpoint_of

log = logging.getLogger(__name__)

SOURCE = "source.json"  # beside the submission: what it was made of


def submit_together(
    queue: TrialQueue, best: FrozenTrial, config: RunConfig, single: Predicted, folder: Path,
    parent: TrackedRun,
) -> tuple[Ensembled, Predicted]:  # fmt: skip
    """Compares the kept checkpoints together with the winner alone, and submits what is better.

    single: what the winner scored and predicted. Returns what came of it, and what is submitted; the final
    scores stay the winner's, for the rows of the final score chose between the two.
    """
    inputs = load_inputs(config)
    together = Together(queue.config.ensemble, config, inputs, take_idle_cores())
    sign = 1 if queue.study.directions[0] is StudyDirection.MAXIMIZE else -1
    kept, metric = dict(_candidates(queue, best, single)), metric_key(config.data.metric)
    scorer = Scorer(inputs.task, inputs.names)
    members = greedy(together, list(kept), scorer, metric, sign) if len(kept) > 1 else []
    made = _made(queue.config.ensemble, kept, members)
    if len(members) < 2:
        return made, single
    chose = StudyRecord(queue.study).final_chose or []
    made, scores = _compared(made, together, members, single, metric, sign, chose)
    paths = together.write(members, folder) if made.is_submitted and config.predict else []
    if not paths:
        return _without_files(made), single
    submitted = replace(single, submissions=paths)
    made.files = submitted.hashes
    _log(made, scores, paths, parent)
    return made, submitted


def _made(kind: Ensemble, kept: Mapping[Path, FrozenTrial], members: Sequence[Path]) -> Ensembled:
    """Notes the members, with the reason for which the winner stays alone if there is no other one."""
    reason = "each other kept checkpoint lowers the score on rows that select"
    if len(kept) < 2:
        reason = "no other whole checkpoint of the winner's architecture, tokenizer and precision is kept"
    if not kept:
        reason = "the winner's checkpoint has adapters alone, which are not put together"
    trials = [kept[path] for path in members]
    run_ids = [str(TrialRecord(trial).run_id) for trial in trials]
    return Ensembled(kind.value, False, reason, [trial.number for trial in trials], run_ids)


def _without_files(made: Ensembled) -> Ensembled:
    if not made.is_submitted:
        return made
    return replace(made, is_submitted=False, reason=f"{made.reason}, but no test split is predicted")


def _candidates(
    queue: TrialQueue, best: FrozenTrial, single: Predicted
) -> Iterator[tuple[Path, FrozenTrial]]:
    """Yields the winner's checkpoint and other whole ones like it, with their trials; none for adapters."""
    wanted = architecture(single.folder) if single.folder else None
    if single.folder is None or wanted is None:
        return
    yield single.folder, best
    for trial in best_first(queue.study):
        path = checkpoint_of(trial, queue.places)
        if trial.number == best.number or path is None or not path.is_dir():
            continue
        if reason := checkpoint.find_damage(path):
            log.warning("trial %d is left out of the ensemble: %s", trial.number, reason)
        elif architecture(path) != wanted:
            log.warning("trial %d is left out of the ensemble: it is not as the winner", trial.number)
        else:
            yield path, trial


def _compared(
    made: Ensembled,
    together: Together,
    members: list[Path],
    single: Predicted,
    metric: str,
    sign: int,
    chose: Sequence[str],
) -> tuple[Ensembled, dict[str, float]]:
    """Compares the members with the winner on the rows of the final score. Also returns their scores there.

    chose: earlier studies that chose by these rows.
    """
    rows, alone = together.final_rows(), single.scorer
    assert rows is not None and alone is not None  # `check_ensemble`
    scorer = Scorer(together.inputs.task, together.inputs.names)
    scores = together.scored(members, rows, scorer)
    if scorer.evaluated is None or alone.evaluated is None:
        whose = "the winner's" if scorer.evaluated else "their"
        return replace(made, reason=f"{whose} outputs are not finite on the rows of the final score"), scores
    judged = [scorer.judged(one.scores, one.references) for one in (scorer.evaluated, alone.evaluated)]
    if slow := resampling.too_slow(scorer.metrics[metric], judged[0]):
        return replace(made, reason=f"there is no test: {slow}"), scores
    p = resampling.p_value(scorer.metrics[metric], *judged)
    value, other = scores[metric], single.metrics[f"final_{metric}"]
    helps = sign * (value - other) > 0 and p is not None and p < DIFFERENT
    which = f"of the final score, which were used in {', '.join(chose)}" if chose else "that chose nothing"
    reason = f"{'better' if helps else 'not surely better'} on the {len(rows)} rows {which}"
    return replace(made, is_submitted=helps, value=value, single=other, p=p, reason=reason), scores


def _log(made: Ensembled, scores: dict[str, float], paths: Sequence[Path], parent: TrackedRun) -> None:
    """Logs the submission and its scores in the study's run, and what it was made of."""
    parent.log_metrics({f"ensemble_{name}": score for name, score in scores.items()}, step=0)
    for path in paths:
        parent.log_file(path, "submission")
    source = paths[0].parent / SOURCE
    write_text(source, json.dumps(made.dump(), indent=2) + "\n")
    parent.log_file(source, "submission")
