"""More than one objective: nothing is lost that is best in one of them."""

import pytest
from sweeping import STORAGE, evaluate, runs, sweep

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError, StudyError
from finesweep.hooks import RunHooks
from finesweep.monitor.report import best, describe
from finesweep.monitor.summary import lines
from finesweep.study import studies
from finesweep.study.records import StudyRecord

pytestmark = pytest.mark.usefixtures("no_finish")
GRID = ("optimizer.learning_rate=1e-3,2e-3,3e-3", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid")  # fmt: skip
OBJECTIVES = "+hydra.sweeper.study.objectives={accuracy:maximize,loss:minimize}"
SCORES = {1e-3: (0.9, 5.0), 2e-3: (0.8, 1.0), 3e-3: (0.7, 6.0)}  # the last is beaten in both


def training(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [SCORES[config.optimizer.learning_rate][0]])


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """`trained` gets a loss beside the accuracy."""
    from finesweep.worker.trial import RunningTrial

    trained = RunningTrial.trained

    def with_loss(self: RunningTrial, value: float, metrics: dict[str, float], checkpoint: str) -> None:
        loss = next(loss for accuracy, loss in SCORES.values() if accuracy == value)
        trained(self, value, metrics | {"eval_loss": loss}, checkpoint)

    monkeypatch.setattr(RunningTrial, "trained", with_loss)


@pytest.mark.usefixtures("losses")
def test_the_pareto_front_is_reported_and_its_first_objective_ranks() -> None:
    study = sweep(training, *GRID, OBJECTIVES)
    found = best(study)
    assert [(point["trial"], point["values"]) for point in found.pareto] == [
        (0, {"accuracy": 0.9, "loss": 5.0}), (1, {"accuracy": 0.8, "loss": 1.0})
    ]  # fmt: skip
    assert (found.trial, found.metric, found.direction, found.value) == (0, "accuracy", "maximize", 0.9)
    assert sum("pareto front" in line for line in lines(found)) == 2
    assert describe(study).states["COMPLETE"] == 3
    assert {run.info.status for run in runs().values()} == {"FINISHED"}


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ("{accuracy:maximize,speed:maximize}", "got 'speed'; known: accuracy.*loss, train_runtime"),
        ("{accuracy:maximize}", "objectives: got .'accuracy'.; legal: two or more"),
    ],
)
def test_objectives_that_cannot_be_are_refused(objectives: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(training, *GRID, f"+hydra.sweeper.study.objectives={objectives}")


def test_other_objectives_are_another_study() -> None:
    study = sweep(training, *GRID)
    assert StudyRecord(study).identity["objectives"] == {"accuracy": "maximize"}
    with pytest.raises(StudyError, match="objectives: was {'accuracy': 'maximize'}, is"):
        sweep(training, *GRID, OBJECTIVES)
    assert len(studies.load("quickstart", STORAGE).directions) == 1
