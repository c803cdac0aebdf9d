"""Optuna's plots of a study, as PNG files. Only the finish step imports this: matplotlib is heavy."""

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window; before pyplot is imported
import matplotlib.pyplot as plt
import numpy as np
import optuna
import optuna.visualization.matplotlib as pictures
from matplotlib.ticker import FormatStrFormatter, NullFormatter
from optuna.study import Study
from optuna.trial import create_trial

from finesweep.monitor.wording import axis_labels
from finesweep.study.importance import evaluator, searched, shares
from finesweep.study.records import StudyRecord

log = logging.getLogger(__name__)
logging.getLogger("matplotlib").setLevel(logging.WARNING)  # not that 8, 16, 32 look like numbers
MAX_PARAMS = 8  # with a panel or an axis each: the most important ones
MAX_LEGEND = 20  # trials with a line in the legend
SIZE, DPI = (8, 5), 120  # inches

Drawing = Callable[[], object]


def draw(study: Study, folder: Path) -> Iterator[Path]:
    """Writes one PNG for each plot that can be drawn; the log says why the others cannot."""
    for name, drawing in _drawings(study):
        try:
            yield _save(drawing, folder / f"{name}.png")
        except Exception as error:
            log.warning("plot %s left out: %s: %s", name, type(error).__name__, error)


def _save(drawing: Drawing, path: Path) -> Path:
    # Optuna sets a style for the whole process, and warns that its pictures are experimental.
    with plt.rc_context({"figure.figsize": SIZE}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            drawing()
            plt.gcf().savefig(path, dpi=DPI, bbox_inches="tight")
        finally:
            plt.close("all")
    return path


def _drawings(study: Study) -> Iterator[tuple[str, Drawing]]:
    search, names = searched(study), list(StudyRecord(study).objectives or {})
    labels = axis_labels([name for trial in search.get_trials(deepcopy=False) for name in trial.params])
    whole = _copy(search, labels)
    for index, name in enumerate(names):
        one, suffix = (whole, "") if len(names) == 1 else (_copy(search, labels, index), f"-{name}")
        yield f"optimization_history{suffix}", partial(_optimization_history, one, name)
        yield f"slice{suffix}", partial(_slice, one, name)
        yield f"param_importances{suffix}", partial(_param_importances, one, name)
        if index:
            yield f"pareto_front{suffix}", partial(_pareto_front, whole, names, index)
    yield "parallel_coordinate", partial(_parallel_coordinate, whole, names)
    if any(trial.intermediate_values for trial in whole.get_trials(deepcopy=False)):
        yield "intermediate_values", partial(_intermediate_values, whole, names[0])


def _optimization_history(search: Study, name: str) -> None:
    axes = pictures.plot_optimization_history(search, target_name=name)
    axes.legend(loc="best")  # Optuna's is outside, and takes half of the width


def _slice(search: Study, name: str) -> None:
    pictures.plot_slice(search, params=_most_important(search), target_name=name)
    for axes in plt.gcf().axes:
        plt.setp(axes.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
        if axes.get_xscale() == "log":  # within a decade, all ticks would get a label
            low, high = axes.get_xlim()
            axes.set_xticks(np.geomspace(low, high, 5)[1:4], minor=False)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(FormatStrFormatter("%.1e"))


def _param_importances(search: Study, name: str) -> None:
    if not shares(search):
        raise ValueError("there are too few trials, or all are equal")
    pictures.plot_param_importances(search, evaluator=evaluator(search), target_name=name)


def _pareto_front(search: Study, names: list[str], index: int) -> None:
    """Plots an objective over the first.

    A trial that is on the front because of a third objective seems to be beaten here.
    """
    pictures.plot_pareto_front(
        search,
        targets=lambda trial: (trial.values[0], trial.values[index]),
        target_names=[names[0], names[index]],
    )


def _parallel_coordinate(search: Study, names: list[str]) -> None:
    search.set_metric_names(names)
    params = _most_important(search)
    axes = pictures.plot_parallel_coordinate(search, params=params, target_name=names[0])
    plt.gcf().set_size_inches(3 + 1.6 * len(names + params), 5)
    labels = [*names, *sorted(params)]  # in Optuna's order; its own ones are cut off after 20 characters
    axes.set_xticks(axes.get_xticks(), labels, rotation=0, fontsize="small")


def _intermediate_values(search: Study, name: str) -> None:
    axes = pictures.plot_intermediate_values(search)
    axes.set(xlabel="per cent of the training", ylabel=name)
    legend = axes.get_legend()
    if legend and len(axes.lines) > MAX_LEGEND:  # the picture would be all legend, and the lines one spot
        legend.remove()
        for index, line in enumerate(axes.lines):
            line.set(color=f"C{index % 10}", alpha=0.3, linewidth=0.7, marker="")


def _most_important(search: Study) -> list[str]:
    known = (name for trial in search.get_trials(deepcopy=False) for name in trial.params)
    return list(dict.fromkeys([*shares(search), *known]))[:MAX_PARAMS]


def _copy(search: Study, labels: dict[str, str], objective: int | None = None) -> Study:
    """Copies the trials with short names of parameters; with one objective alone if `objective`."""
    chosen = slice(None) if objective is None else slice(objective, objective + 1)
    copy = optuna.create_study(directions=search.directions[chosen])
    for trial in search.get_trials(deepcopy=False):
        copy.add_trial(
            create_trial(
                state=trial.state,
                values=trial.values[chosen] if trial.values else None,
                params={labels[name]: value for name, value in trial.params.items()},
                distributions={labels[name]: values for name, values in trial.distributions.items()},
                intermediate_values=trial.intermediate_values,
            )
        )
    return copy
