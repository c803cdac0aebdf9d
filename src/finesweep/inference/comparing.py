"""Compares the winner of a study with another of its trials, by the predictions that are kept."""

from pathlib import Path
from tempfile import TemporaryDirectory

from finesweep.config.run import Direction, metric_key
from finesweep.errors import ConfigError
from finesweep.inference.origin import Stores, find_origin
from finesweep.inference.settings import settle
from finesweep.study.certainty import Comparison
from finesweep.study.noise import Judge
from finesweep.study.places import places_of
from finesweep.study.ranking import best_first
from finesweep.study.reading import read_study
from finesweep.study.records import StudyRecord
from finesweep.tasks import Scorer

OPTION = "--against"


def compare(name: str, winner: int, other: int, stores: Stores) -> Comparison:
    """Tests whether two trials of a study differ on the rows that both were evaluated on.

    Raises: ConfigError for a trial that is not complete, or whose predictions are not kept; as `find_origin`.
    """
    study = read_study(name, stores.storage)
    record, trials = StudyRecord(study), {trial.number: trial for trial in best_first(study)}
    if other not in trials or other == winner:
        legal = f"the number of another complete trial than {winner}, the winner"
        raise ConfigError.at(OPTION, other, legal)
    scorer = _scorer(name, record.metric, Direction(study.directions[0].name.lower()), stores)
    metric = scorer.metrics.get(metric_key(record.metric))
    if metric is None:
        legal = (
            f"a trial of a study with one of finesweep's metrics; {record.metric} is not, and no function "
        )
        raise ConfigError.at(OPTION, other, legal + "that a study names is imported")
    judge = Judge(study, places_of(study), scorer, metric)
    found = judge.compared(trials[winner], trials[other], "")
    if isinstance(found, str):
        raise ConfigError(f"{OPTION}: got {other}: {found}")
    return found


def _scorer(name: str, metric: str, direction: Direction, stores: Stores) -> Scorer:
    """Returns a scorer for the winner of a study, as its checkpoint tells the task."""
    with TemporaryDirectory() as scratch:
        config, task = settle(find_origin(name, stores, Path(scratch)), [])
    config.data.metric, config.data.direction = metric, direction  # of the task, which has the same object
    return Scorer(task, config.data.labels or ["value"])
