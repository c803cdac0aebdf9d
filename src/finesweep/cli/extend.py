"""`finesweep extend`: sets the budgets of a study, also while it runs."""

from typing import Any

import click

from finesweep.cli import completing, options
from finesweep.cli.output import print_answer
from finesweep.errors import ConfigError, did_you_mean

KINDS = {"n_trials": int, "timeout_s": float, "max_train_steps": int}


@click.command()
@click.argument("study", shell_complete=completing.studies)
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE ...")
@options.storage
@options.as_json
def extend(study: str, values: tuple[str, ...], storage: str, as_json: bool) -> None:
    """Set the budgets of a study, also while it runs.

    These are n_trials, timeout_s and max_train_steps. Its workers go by them before they take their next
    trial. The same command, started again, keeps them.
    """
    from finesweep.monitor.steering import who_goes_on
    from finesweep.study import steering
    from finesweep.study.budget import full, spent

    given = dict(map(_budget, values))
    opened = steering.open_for_steering(study, storage)
    before, after = opened.patience.call(steering.extend, opened, given)
    changes = [
        f"{key} was {steering.shown(getattr(before, key))}, is {steering.shown(getattr(after, key))}"
        for key in given
    ]
    trials = opened.trials()
    if used_up := full(trials, after):
        goes_on = f"{used_up} is used up: no further point is begun"
    elif ended := spent(trials, after, spoken_for=True, goal=opened.goal):
        goes_on = f"no further point is begun: {ended}; its command with stop_when=none goes on"
    else:
        goes_on = who_goes_on(opened.study)
    text = f"study {study}: {'; '.join(changes)}; {goes_on}"
    print_answer(as_json, {"study": study} | {key: getattr(after, key) for key in KINDS}, text)


def _budget(text: str) -> tuple[str, Any]:
    """Reads `n_trials=60`; null takes a budget away that a study need not have."""
    key, _, value = text.removeprefix("hydra.sweeper.").removeprefix("study.").partition("=")
    if key not in KINDS:
        raise ConfigError(f"{key}: is no budget; {did_you_mean(key, KINDS)}legal: {', '.join(KINDS)}")
    if value == "null" and key != "n_trials":
        return key, None
    try:
        return key, KINDS[key](value)
    except ValueError:
        legal = "a number above 0" if KINDS[key] is float else "a whole number, 1 or more"
        raise ConfigError.at(key, value, legal) from None
