"""Writes how sure a study's result is, for a person."""

from collections.abc import Iterator

from finesweep.config.run import metric_key
from finesweep.monitor.report import Best
from finesweep.monitor.wording import number
from finesweep.provenance.record import is_result
from finesweep.study.certainty import Comparison, Interval
from finesweep.study.ensemble import Ensembled


def how_sure(best: Best) -> Iterator[str]:
    """Yields what is known of the noise of the best value, a line each."""
    found = best.certainty
    if found and found.interval:
        yield f"{over_rows(found.interval)}, which also chose it"
    elif best.row_noise is not None:
        yield f"standard error {number(best.row_noise)} over {best.rows} rows"
    for one in found.comparisons if found else []:
        yield compared(one, found.chosen_of if found else 1)
    if best.seed_noise is not None:
        yield f"standard deviation {number(best.seed_noise)} over new seeds"
    if found and found.final_chose:
        names = ", ".join(found.final_chose)
        yield f"the rows of the final score were used before, in {names}: new rows may score less well"
    if found and found.missing:
        yield f"not known: {'; '.join(found.missing)}"


def lead(best: Best) -> str:
    """Writes how the means over new seeds of the first two candidates differ; an empty text for fewer."""
    if len(best.confirmed) < 2:
        return ""
    first, second = best.confirmed[:2]
    difference = (first.mean - second.mean) * (1 if best.direction == "maximize" else -1)
    what = f"lead of {number(difference)} over trial {second.trial} is"
    if difference < 0:
        side = "below" if best.direction == "maximize" else "above"
        what = f"mean {number(-difference)} {side} that of trial {second.trial}, which has failed seeds:"
    if best.within_noise is None:
        return f"{what} not tested: the test needs two seeds that both have, and that differ"
    verdict = "within noise: take either" if best.within_noise else "beyond noise"
    return f"{what} {verdict} (paired t-test, 5%)"


def ensembled(made: Ensembled | None) -> str:
    """Writes how the kept checkpoints did together; an empty text if that was not asked for."""
    if made is None:
        return ""
    trials = f"{made.kind} of trials {', '.join(map(str, made.members))}"
    if made.value is None or made.single is None or made.p is None:
        return f"{made.kind}: {made.reason}; the winner is submitted alone"
    chosen = "submitted; these rows chose it over the winner"
    what = chosen if made.is_submitted else "the winner is submitted alone"
    scores = f"{number(made.value)}, the winner alone {number(made.single)} (p={made.p:.2g})"
    return f"{trials}: {scores}: {made.reason}; {what}"


def finally_scored(best: Best) -> Iterator[tuple[str, str]]:
    """Yields name and value of each final score; the metric's is the first, and has its interval."""
    of_metric = f"final_{metric_key(best.metric)}"
    names = [name for name in best.final_metrics if name.startswith("final_") and is_result(name)]
    for name in sorted(names, key=lambda name: name != of_metric):
        sure = best.certainty.final if best.certainty and name == of_metric else None
        yield name, number(best.final_metrics[name]) + (f" ({over_rows(sure)})" if sure else "")


def over_rows(interval: Interval) -> str:
    return f"95%: {number(interval.low)} to {number(interval.high)} over {interval.rows} rows"


def compared(one: Comparison, chosen_of: int) -> str:
    """Writes how the winner compares with another trial. chosen_of: how many the same rows chose it of."""
    verdict = "distinguishable" if one.is_different else "not distinguishable"
    which = "better" if one.lead >= 0 else "worse"
    p = f"p={one.p:.2g}" if one.p >= 0.001 else "p<0.001"
    if one.is_different and chosen_of > 1:
        p += f", though chosen as the best of {chosen_of} on these rows"
    role = f", the {one.role}" if one.role else ""
    return f"{number(abs(one.lead))} {which} than trial {one.trial}{role}: {verdict} ({p})"


def best_of_n(best: Best) -> str:
    """Writes what fewer trials would have given on average; an empty text for few trials."""
    expected = [f"{number(value)} of {n}" for n, value in best.best_of_n.items()]
    count = best.partly_trained
    partly = f" ({count} of the values are those of partly trained ones)" if count else ""
    return f"expected {', '.join(expected)} trials{partly}" if expected else ""
