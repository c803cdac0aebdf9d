"""Describes a study as a result, for the page of its run in MLflow's UI."""

from collections.abc import Iterator, Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.io.terminal import argument
from finesweep.monitor.certainty import ensembled, finally_scored, how_sure, lead
from finesweep.monitor.markdown import code, link, of_trial, plain, table, took
from finesweep.monitor.report import Best, Confirmed, Status, best, describe
from finesweep.monitor.states import GIVEN_UP, PAUSED, state_names
from finesweep.monitor.wording import duration, number, scalar, store_options
from finesweep.study.budget import span
from finesweep.study.ranking import best_first
from finesweep.study.records import StudyRecord
from finesweep.study.selection import failures
from finesweep.study.space import params_of

LIMIT = 8000  # characters that MLflow takes
LISTED = (20, 10, 5, 3, 0)  # rows of the leaderboard and of the other lists; as many as there is room for


def of_study(study: Study, works: bool) -> str:
    """Describes a study as a result, with links to its runs. works: whether somebody works on it."""
    status = describe(study)
    first = best(study) if status.best else None
    for rows in LISTED:
        parts = _parts(study, status, first, works, rows)
        text = "\n\n".join(parts)
        if len(text) <= LIMIT:
            return text
    return text[: LIMIT - 4] + " ..."


def _parts(study: Study, status: Status, first: Best | None, works: bool, rows: int) -> Iterator[str]:
    trials = study.get_trials(deepcopy=False)
    yield _head(status, first, works)
    if first:
        yield _spread(status, first)
        yield "#### Winning parameters\n\n" + table(
            ["parameter", "value"], [[key, plain(scalar(value))] for key, value in first.params.items()]
        )
        if rows:
            yield f"#### Leaderboard\n\n{_leaderboard(study, rows)}"
    states = state_names(trials, StudyRecord(study).given_up or ())
    for title, name in (("Pruned", TrialState.PRUNED.name), ("Paused", PAUSED), ("Given up", GIVEN_UP)):
        yield from _others(title, [trial for trial in trials if states[trial.number] == name], study, rows)
    yield from _others("Failed", failures(trials), study, rows)
    yield f"#### Cost\n\n{_cost(status, trials)}"
    if first and first.submissions:
        paths = ", ".join(map(code, first.submissions))
        whose = "several checkpoints together" if _is_together(first) else "the winner"
        yield (
            f"#### Submission\n\nThe predictions of the test split by {whose}: {paths}, and `submission/` "
            "among this run's artifacts."
        )
    yield f"#### Commands\n\n{_commands(status, first)}"


def _head(status: Status, first: Best | None, works: bool) -> str:
    done = f"{status.finished} of {status.n_trials} trials"
    counts = {name.lower(): count for name, count in status.outcomes.items() if name != "WAITING"}
    split = ", ".join(f"{count} {'failed' if name == 'fail' else name}" for name, count in counts.items())
    if works:
        state = f"**Running**: {done} are finished"
    elif status.ended_by:
        state = f"**Finished**: {done}, ended by {code(status.ended_by)}"
    else:
        state = f"**Stopped** before its end: {done} are finished; the same command goes on"
    state += f" ({split})." if split else "."
    if first is None:
        return f"### {plain(status.metric)}: no result yet\n\n{state}"
    title = f"### {plain(first.score or first.metric)} {number(first.value)} (trial {first.trial})"
    if first.confirmed:
        title += f"; with new seeds {_mean(first.confirmed[0])}"
    point = " ".join(f"{key.rpartition('.')[2]}={scalar(value)}" for key, value in first.params.items())
    return f"{title}\n\n{code(point)}\n\n{state}"


def _spread(status: Status, first: Best) -> str:
    """Says how far the best value can be trusted."""
    lines = [*_over_seeds(status, first), *(f"\n{text}." for text in how_sure(first))]
    scores = [f"{code(name)} {value}" for name, value in finally_scored(first)]
    if scores:
        whose = ", of the winner alone" if _is_together(first) else ""
        chose = bool(first.certainty and first.certainty.final_chose)
        rows = "" if chose else ", on rows that chose nothing"
        lines.append(f"\nFinal score{whose}{rows}: {', '.join(scores)}")
    if first.ensemble:
        lines.append(f"\nThe kept checkpoints together: {ensembled(first.ensemble)}.")
    return "\n".join(lines)


def _over_seeds(status: Status, first: Best) -> Iterator[str]:
    """Says how the best value spreads over seeds, or that this is not known."""
    if not first.confirmed:
        complete = status.states[TrialState.COMPLETE.name]
        yield (
            f"The best of {complete} trials with one seed each, so somewhat lucky. Its spread over seeds is "
            "not known: start the command again with `hydra.sweeper.study.confirm.top_k=3`."
        )
        return
    yield "Trained again with new seeds; mean ± standard deviation:\n"
    for one in first.confirmed:
        yield f"- trial {one.trial}: **{_mean(one)}** over {one.n} new seeds"
    if difference := lead(first):
        yield f"\nBeside the next one: {difference}."


def _is_together(first: Best) -> bool:
    return first.ensemble is not None and first.ensemble.is_submitted


def _mean(one: Confirmed) -> str:
    return number(one.mean) + ("" if one.std is None else f" ± {number(one.std)}")


def _leaderboard(study: Study, rows: int) -> str:
    ranked = best_first(study)
    record = StudyRecord(study)
    names = list(record.objectives or [record.metric])
    keys = list(dict.fromkeys(key for trial in ranked for key in params_of(trial)))
    lines = [
        [str(place), link(trial), *(number(value) for value in trial.values),
         *(plain(scalar(params_of(trial).get(key, ""))) for key in keys), took(trial)]
        for place, trial in enumerate(ranked[:rows], start=1)
    ]  # fmt: skip
    heads = ["", "trial", *names, *(key.rpartition(".")[2] for key in keys), "time"]
    more = f"\n\n... and {len(ranked) - rows} more" if len(ranked) > rows else ""
    return table(heads, lines) + more


def _others(title: str, trials: Sequence[FrozenTrial], study: Study, rows: int) -> Iterator[str]:
    if not trials:
        return
    lines = [f"- {link(trial)}: {of_trial(study, trial)}" for trial in trials[:rows]]
    if len(trials) > rows:
        lines.append(f"- {len(trials) - rows} {'more' if rows else 'trials'}")
    yield f"#### {title}\n\n" + "\n".join(lines)


def _cost(status: Status, trials: Sequence[FrozenTrial]) -> str:
    device_s = sum(end - start for start, end in filter(None, map(span, trials)))
    reused = f"; {status.reused} trials were known already" if status.reused else ""
    return (
        f"{duration(status.seconds)} in which trials ran, {duration(device_s)} of all workers together, "
        f"{status.train_steps:,} training steps{reused}."
    )


def _commands(status: Status, first: Best | None) -> str:
    name, runs = argument(status.study), store_options(tracking_uri=status.tracking_uri)
    storage = store_options(storage=status.storage)
    lines = [f"finesweep status{storage} {name}"]
    if first:
        lines = [
            f"finesweep predict{storage}{runs} {name} FILE --out predictions.csv   # new rows",
            f"finesweep reproduce{runs} {first.run_id}   # the winner once more, compared",
            f"{first.command}   # the winner without the sweep",
            f"finesweep best{storage} {name}",
        ]
    return "```\n" + "\n".join(lines) + "\n```"
