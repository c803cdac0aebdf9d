"""A study for a program or a notebook: its trials, metrics and winner as DataFrames."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finesweep.config.run import TrackingConfig
from finesweep.config.study import StudyConfig

if TYPE_CHECKING:
    import pandas as pd

    from finesweep.monitor.report import Best


def open_study(
    name: str, storage: str = StudyConfig().storage, *, tracking_uri: str = TrackingConfig().uri
) -> "Study":
    """Opens a study to read it; also one that is running.

    storage: the URL of Optuna's database. tracking_uri: the MLflow store of its runs.
    Raises: StudyError, which lists the existing studies.
    """
    study = Study(name, storage, tracking_uri)
    study.load()
    return study


@dataclass(frozen=True)
class Study:
    """A study in its stores. Every property reads what is there now."""

    name: str
    storage: str
    tracking_uri: str

    def load(self) -> Any:
        """Returns Optuna's own study, read-only."""
        from finesweep.study.reading import read_study

        return read_study(self.name, self.storage)

    @property
    def trials(self) -> "pd.DataFrame":
        """All trials by number: state, objectives, parameters, seconds, run_id, checkpoint, error.

        A trial that is PRUNED in Optuna may be PAUSED, CONTINUED or GIVEN UP. `confirms`, `retry_of`,
        `continues` and `reused_of` are numbers of other trials.
        """
        import pandas as pd

        from finesweep.monitor.states import state_names
        from finesweep.study.records import StudyRecord

        study = self.load()
        record = StudyRecord(study)
        objectives = list(record.objectives or [record.metric])
        trials = study.trials
        states = state_names(trials, record.given_up or ())
        rows = [_row(study, trial, states[trial.number], objectives) for trial in trials]
        return pd.DataFrame(rows).set_index("trial") if rows else pd.DataFrame()

    @property
    def best(self) -> "pd.DataFrame":
        """The winner's row of `trials`; with several objectives, those of the Pareto front.

        Confirmed trials go by their mean, which is `mean`, with its standard deviation `std` over `n` seeds.
        Raises: StudyError if no trial is complete yet.
        """
        winner, trials = self.winner, self.trials
        front = [row["trial"] for row in winner.pareto]
        chosen = trials.loc[front or [winner.trial]].dropna(axis="columns", how="all")
        for confirmed in winner.confirmed[:1]:
            chosen = chosen.assign(mean=confirmed.mean, std=confirmed.std, n=confirmed.n)
        return chosen

    @property
    def winner(self) -> "Best":
        """What `finesweep best` shows. Raises: StudyError if no trial is complete yet."""
        from finesweep.monitor import report

        return report.best(self.load())

    @property
    def metrics(self) -> "pd.DataFrame":
        """Every metric that the trials logged, by trial and step."""
        import pandas as pd

        from finesweep.study.records import TrialRecord
        from finesweep.tracking import open_reader, read_all

        client = open_reader(TrackingConfig(uri=self.tracking_uri))
        rows = [
            {"trial": trial.number, "step": step, **values}
            for trial in self.load().trials
            if (run_id := TrialRecord(trial).run_id)
            for step, values in sorted(read_all(client, run_id).items())
        ]
        return pd.DataFrame(rows).set_index(["trial", "step"]) if rows else pd.DataFrame()

    def __repr__(self) -> str:
        states = [trial.state.name for trial in self.load().trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"Study({self.name!r}: {counts or 'no trials'})"


def _row(study: Any, trial: Any, state: str, objectives: list[str]) -> dict[str, Any]:
    from finesweep.study.budget import span
    from finesweep.study.places import places_of
    from finesweep.study.records import TrialRecord
    from finesweep.study.space import params_of

    record, times = TrialRecord(trial), span(trial)
    values = trial.values or [None] * len(objectives)
    return {
        "trial": trial.number,
        "state": state,
        **dict(zip(objectives, values, strict=True)),
        **params_of(trial),
        "seconds": round(times[1] - times[0], 1) if times else None,
        "run_id": record.run_id,
        "checkpoint": str(places_of(study).find(record.checkpoint)) if record.checkpoint else None,
        "confirms": record.confirms,
        "retry_of": record.retry_of,
        "continues": record.continues,
        "reused_of": record.reused_of,
        "error": record.error,
    }
