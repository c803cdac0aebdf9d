"""The sections of a study's page, from its headline to the commands for its results."""

from collections.abc import Iterator

from finesweep.io.terminal import argument
from finesweep.monitor.wording import duration, store_options
from finesweep.report.charts import confirmation, learning_curves, search_charts
from finesweep.report.facts import Facts
from finesweep.report.headline import device_hours, headline
from finesweep.report.markup import commands, grid, listed, paragraph, section, size
from finesweep.report.run_charts import pareto_fronts, timeline
from finesweep.report.space_charts import slices, surfaces
from finesweep.report.tables import confirmed_table, front_table, lost, published_table, trials_table
from finesweep.study.budget import busy_seconds


def study_sections(facts: Facts) -> str:
    """Writes all sections of a study; those without content are left out."""
    return "".join(
        [
            headline(facts),
            section("Search", grid(list(search_charts(facts)))),
            section("Confirmation", grid(list(confirmation(facts))), confirmed_table(facts)),
            section("Pareto front", grid(list(pareto_fronts(facts))), front_table(facts)),
            section("Parameters", grid([*surfaces(facts), *slices(facts)])),
            section("Training", grid(list(learning_curves(facts))), paragraph(facts.curves_missing or "")),
            section("Beside published models", published_table(facts)),
            section("Failed and pruned", *lost(facts)),
            section("Cost", listed(_cost(facts)), grid(list(timeline(facts)))),
            section("All trials", trials_table(facts)),
            section("Commands", commands(_commands(facts))),
        ]
    )


def _cost(facts: Facts) -> list[str]:
    disk, busy = facts.disk, busy_seconds(facts.snapshot.trials)
    lines = [
        f"{device_hours(facts)} device hours: {duration(facts.device_seconds)} of trials, interrupted ones "
        f"included, in {duration(busy)} by the clock",
        f"{facts.status.train_steps:,} training steps",
        f"disk: {disk.kept} checkpoints kept here, {size(disk.n_bytes)}",
    ]
    if disk.removed:
        about = f", about {size(disk.n_bytes / disk.kept * disk.removed)} freed" if disk.kept else ""
        lines.append(
            f"disk: {disk.removed} checkpoints removed or elsewhere{about}"
            + (" (as large as the kept ones on average)" if about else "")
        )
    if facts.status.reused:
        lines.append(f"{facts.status.reused} trials had a point that was known, and were not trained again")
    return lines


def _commands(facts: Facts) -> Iterator[tuple[str, str]]:
    name, status = argument(facts.name), facts.status
    storage, runs = store_options(storage=status.storage), store_options(tracking_uri=status.tracking_uri)
    if facts.best:
        yield "Predict new rows:", f"finesweep predict{storage}{runs} {name} FILE --out predictions.csv"
        yield (
            "Train the best trial again, and compare it with the record:",
            f"finesweep reproduce{storage}{runs} --best {name}",
        )
        yield "The same by its run:", f"finesweep reproduce{runs} {facts.best.run_id}"
        yield "Run it without the study:", facts.best.command
        yield "See whether other seeds agree:", f"finesweep reproduce{storage}{runs} --best {name} --seeds 5"
        if facts.best.submissions and facts.snapshot.record.glue_task:
            yield "Hand its predictions in:", f"finesweep submit{storage} {name} --out submission --zip"
    yield "Compare the trials in MLflow's UI:", f"finesweep ui{runs} {name}"
