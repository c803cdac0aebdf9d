"""What a person sees while a sweep runs: a live table on a terminal, one plain line per event elsewhere.

Read from the study alone, by the launching process; the workers print nothing, so that nothing is garbled.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from finesweep.sweep import study as studies

POLL_S = 1.0


@contextmanager
def watching(sweep: Any, prepared: Any) -> Iterator[None]:
    """Shows the study on stderr while the body runs."""
    before = {trial.number for trial in prepared.ledger.trials() if trial.state.is_finished()}
    watcher = _Watcher(
        prepared.study.study_name, sweep.config.study.storage, sweep.config.study.n_trials, before
    )
    watcher.say(f"study {sweep.name}: {_opening(sweep, prepared, before)}")
    thread = threading.Thread(target=watcher.watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        watcher.over.set()
        thread.join()


def _opening(sweep: Any, prepared: Any, before: set[int]) -> str:
    n_trials = sweep.config.study.n_trials
    if prepared.nothing_to_do:
        return f"all {n_trials} trials are finished, nothing to do; more with hydra.sweeper.study.n_trials=N"
    known = f", {len(before)} ended before" if before else ""
    many = "s" if prepared.workers > 1 else ""
    sampler = sweep.config.study.sampler.value
    return f"{n_trials} trials{known}, {prepared.workers} worker{many}, sampler {sampler}"


class _Watcher:
    def __init__(self, name: str, storage: str, n_trials: int, ended: set[int]) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.study: Study = studies.load(name, storage)
        self.n_trials = n_trials
        self.metric = str(self.study.user_attrs["metric"])
        self.ended, self.running = set(ended), set[int]()
        self.over = threading.Event()
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def watch(self) -> None:
        if not self.console.is_terminal:
            while not self.over.wait(POLL_S):
                self._events()
            self._events()
            return
        with Live(console=self.console, refresh_per_second=2, transient=True) as live:
            while not self.over.wait(POLL_S):
                live.update(self._table(self._events()))
        self._events()

    def _events(self) -> list[FrozenTrial]:
        """Says what has begun or ended since the last look."""
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if (
                trial.state is TrialState.RUNNING
                and trial.number not in self.running
                and studies.OWNER in trial.user_attrs
            ):
                self.running.add(trial.number)
                if not self.console.is_terminal:
                    self.say(f"trial {trial.number} started: {_params(trial)}")
            elif trial.state.is_finished() and trial.number not in self.ended:
                self.ended.add(trial.number)
                self.say(self._ending(trial, trials))
        return trials

    def _ending(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> str:
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        head = f"trial {trial.number} {trial.state.name} in {seconds:.0f} s"
        if trial.state is TrialState.FAIL:
            return f"{head}: {trial.user_attrs.get(studies.ERROR, 'interrupted; it will be tried again')}"
        best = studies.best_first(self.study)
        lead = f" | best {best[0].value:.4f} (trial {best[0].number})" if best else ""
        count = sum(other.state in studies.FINISHED for other in trials)
        value = "-" if trial.value is None else f"{trial.value:.4f}"
        return f"{head}: {self.metric} {value}{lead} | {count}/{self.n_trials} | {_params(trial)}"

    def _table(self, trials: list[FrozenTrial]) -> Group:
        table = Table(
            "trial", "epoch", "step", "examples/s", self.metric, "parameters", box=None, pad_edge=False
        )
        for trial in trials:
            if trial.state is TrialState.RUNNING:
                live = trial.user_attrs.get("live", {})
                steps = f"{live.get('step', '-')}/{live.get('max_steps', '-')}"
                value = f"{live['value']:.4f}" if "value" in live else "-"
                row = (trial.number, live.get("epoch", "-"), steps, live.get("examples_per_s", "-"), value)
                table.add_row(*map(str, row), _params(trial))
        return Group(table, Text(self._totals(trials)))

    def _totals(self, trials: list[FrozenTrial]) -> str:
        finished = sum(trial.state in studies.FINISHED for trial in trials)
        best = studies.best_first(self.study)
        lead = f"best {best[0].value:.4f} (trial {best[0].number})" if best else "no result yet"
        failed = len(studies.failures(trials))
        seconds = time.monotonic() - self.started
        return f"{finished}/{self.n_trials} finished, {failed} failed, {lead}, {seconds:.0f} s"


def _params(trial: FrozenTrial) -> str:
    return " ".join(
        f"{key.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{key.rpartition('.')[2]}={value}"
        for key, value in trial.params.items()
    )
