"""Compares studies: best, mean over new seeds, cost, and the differences between them."""

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes

from finesweep.report.differences import METHOD, differences
from finesweep.report.facts import Facts
from finesweep.report.figure import BLUE, GREEN, PURPLE, RED, chart, legend
from finesweep.report.headline import device_hours, spread, state
from finesweep.report.markup import Cell, cell, figure_cell, grid, number, paragraph, section, table, text
from finesweep.report.published import SOURCE, published


def comparison(studies: Sequence[Facts]) -> str:
    """Writes the sections that compare the studies."""
    return "".join(
        [
            section("Studies", grid([*_charts(studies)]), _table(studies)),
            section("Differences", _differences_table(studies), paragraph(METHOD)),
        ]
    )


def _table(studies: Sequence[Facts]) -> str:
    heads = ["study", "data", "model", "metric", "best", "mean over new seeds", "seeds", "trials",
             "device hours", "training steps", "state"]  # fmt: skip
    rows = [_row(facts) for facts in studies]
    scores = _published(studies)
    for model, score in scores.items():
        blank = [cell("")] * 5
        metric = studies[0].objectives[0]
        rows.append([cell(f"{model}, published"), cell("test split"), cell(model), cell(metric),
                     figure_cell(number(score)), cell(""), *blank])  # fmt: skip
    words = (
        f"Published: GLUE's test split, the best of 20 settings ({SOURCE}). The studies' scores are of the "
        "validation split."
    )
    return table(heads, rows, "Studies") + (paragraph(words) if scores else "")


def _row(facts: Facts) -> list[Cell]:
    first = facts.confirmed[0] if facts.confirmed else None
    link = Cell(f'<a href="#{facts.prefix}study">{text(facts.name)}</a>')
    return [
        link, cell(facts.identity("data.name") or ""), cell(facts.identity("model.name") or ""),
        cell(facts.objectives[0]),
        figure_cell(number(facts.best.value) if facts.best else "–"),
        figure_cell(spread(first.mean, first.std) if first else "–"),
        figure_cell(len(first.values) if first else 0),
        figure_cell(facts.snapshot.finished), figure_cell(device_hours(facts)),
        figure_cell(f"{facts.status.train_steps:,}"), cell(state(facts)[0]),
    ]  # fmt: skip


def _published(studies: Sequence[Facts]) -> dict[str, float]:
    """Gives the published scores if all studies are of one GLUE task and metric."""
    tasks = {(facts.snapshot.record.glue_task, facts.objectives[0]) for facts in studies}
    return published(*tasks.pop()) if len(tasks) == 1 else {}


def _charts(studies: Sequence[Facts]) -> Iterator[str]:
    """Yields a chart for each metric, and one of the costs."""
    for place, metric in enumerate(dict.fromkeys(facts.objectives[0] for facts in studies)):
        of = [facts for facts in studies if facts.objectives[0] == metric and facts.best]
        if of:
            yield chart(
                f"compare{place}", f"{metric} of the studies",
                "Mean and standard deviation over new seeds; hollow: the best of the search, by one seed.",
                partial(_results, of, _published(studies), metric),
                height=1.3 + 0.36 * (len(of) + len(_published(studies))),
            )  # fmt: skip
    yield chart(
        "compare-cost", "Cost", "Device hours of all trials.", partial(_costs, studies),
        height=1 + 0.36 * len(studies),
    )  # fmt: skip


def _results(studies: Sequence[Facts], scores: dict[str, float], metric: str, axes: Axes) -> None:
    names = [*(facts.name for facts in studies), *scores]
    for place, facts in enumerate(studies):
        assert facts.best is not None
        axes.scatter(
            [facts.best.value], [place], s=40, marker="D", facecolors="none", edgecolors=RED, label="best"
        )
        if facts.confirmed:
            first = facts.confirmed[0]
            axes.errorbar(
                [first.mean], [place], xerr=[first.std or 0.0], fmt="o", color=GREEN, capsize=4,
                label="mean, sd",
            )  # fmt: skip
    if scores:
        places = range(len(studies), len(names))
        axes.scatter(list(scores.values()), places, marker="s", color=PURPLE, label="published")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=metric, ylim=(len(names) - 0.4, -0.6))
    axes.grid(axis="y", visible=False)
    legend(axes)


def _costs(studies: Sequence[Facts], axes: Axes) -> None:
    bars = axes.barh(
        [facts.name for facts in studies], [f.device_seconds / 3600 for f in studies], color=BLUE, height=0.6
    )
    axes.bar_label(bars, [device_hours(facts) for facts in studies], padding=3)
    axes.set(xlabel="device hours")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _differences_table(studies: Sequence[Facts]) -> str:
    rows = [
        [
            cell(one.first), cell(one.second), figure_cell("–" if one.lead is None else f"{one.lead:+.4f}"),
            figure_cell(number(one.p)), cell(one.verdict),
        ]
        for one in differences(studies)
    ]  # fmt: skip
    return table(["study", "against", "difference of means", "p", "verdict"], rows, "Differences")
