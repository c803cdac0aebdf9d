"""The head of a study's page: what was found, how sure it is, where the study stands, what it cost."""

from collections.abc import Iterator

from finesweep.monitor.certainty import ensembled, finally_scored, how_sure, lead
from finesweep.monitor.wording import duration, scalar
from finesweep.report.facts import Facts
from finesweep.report.markup import number, text
from finesweep.study.budget import busy_seconds

Fact = tuple[str, str, list[str]]  # what it is, the fact, and lines that explain it


def headline(facts: Facts) -> str:
    """Writes the headline result as a list of facts."""
    shown = "".join(
        f"<div><dt>{text(what)}</dt><dd><b>{text(fact)}</b>"
        + "".join(f"{text(line)}<br>" for line in lines)
        + "</dd></div>\n"
        for what, fact, lines in _facts(facts)
    )
    return f'<p class="muted">{text(_made_of(facts))}</p>\n<dl class="facts">{shown}</dl>\n'


def _made_of(facts: Facts) -> str:
    """Says in a line what was trained on what."""
    parts = [
        f"{what} {facts.identity(key)}"
        for what, key in (("data", "data.name"), ("model", "model.name"), ("optimizer", "optimizer.name"))
        if facts.identity(key) is not None
    ]
    last = (facts.snapshot.record.history or [{}])[-1]
    parts += [f"{what} {last[what]}" for what in ("sampler", "pruner") if last.get(what)]
    return ", ".join(parts)


def _facts(facts: Facts) -> Iterator[Fact]:
    best = facts.best
    if best is None:
        yield "best", "none yet", ["no trial is complete"]
    else:
        yield f"best {best.score or best.metric}", number(best.value), _about_best(facts)
        yield from _confirmed(facts)
        yield (
            "its parameters",
            "",
            [f"{key.rpartition('.')[2]} = {scalar(value)}" for key, value in best.params.items()],
        )
    yield "state", *state(facts)
    yield "device time", *_cost(facts)


def _about_best(facts: Facts) -> list[str]:
    best = facts.best
    assert best is not None
    lines = [f"trial {best.trial}; {best.direction} {best.metric}"]
    if not facts.confirmed:
        lines.append(
            "by one seed and the best of many, so new seeds would do worse: hydra.sweeper.study.confirm "
            "trains the best few again"
        )
    final = map(" ".join, finally_scored(best))
    together = [f"the kept checkpoints together: {ensembled(best.ensemble)}"] if best.ensemble else []
    return [*lines, *how_sure(best), *final, *together]


def _confirmed(facts: Facts) -> Iterator[Fact]:
    if not facts.confirmed:
        return
    first = facts.confirmed[0]
    lines = [f"trial {first.trial.number} with {len(first.values)} new seeds: mean, standard deviation"]
    lines += filter(None, [lead(facts.best)] if facts.best else [])
    yield "confirmed", spread(first.mean, first.std), lines


def spread(mean: float, std: float | None) -> str:
    return number(mean) if std is None else f"{number(mean)} ± {number(std)}"


def state(facts: Facts) -> tuple[str, list[str]]:
    """Says in a word where the study stands, and how many trials ended how."""
    snapshot = facts.snapshot
    alive = sum(not snapshot.is_gone(trial) for trial in snapshot.running)
    lines = [f"{snapshot.finished} of {snapshot.n_trials} trials finished"]
    if snapshot.to_confirm:
        lines.append(f"{snapshot.confirmed} of {snapshot.to_confirm} confirming")
    if facts.status.ended_by:
        lines.append(f"ended by {facts.status.ended_by}")
    if alive:
        return f"running, {alive} at work", lines
    if facts.status.ended_by and not snapshot.running and snapshot.confirmed == snapshot.to_confirm:
        return "finished", [*lines, *([] if facts.is_concluded else ["its last step was not taken"])]
    return "unfinished", [*lines, "the same command goes on from here"]


def _cost(facts: Facts) -> tuple[str, list[str]]:
    shared = duration(busy_seconds(facts.snapshot.trials))
    lines = [f"{facts.status.train_steps:,} training steps", f"in {shared} by the clock"]
    return duration(facts.device_seconds), lines


def device_hours(facts: Facts) -> str:
    return f"{facts.device_seconds / 3600:.3g}"
