"""What a command must share with a study to go on with it, also when an older finesweep started it."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from sweeping import STORAGE, evaluate, sweep

from finesweep.config.run import SHORTCUTS, RunConfig
from finesweep.errors import ConfigError, StudyError
from finesweep.hooks import RunHooks
from finesweep.monitor import report, summary
from finesweep.study import studies
from finesweep.study.records import StudyRecord

# What version 0.1 did not know, or stored as well.
UNKNOWN = (
    "data.source",
    "data.threshold",
    "data.label_columns",
    "model.gradient_checkpointing",
    "model.freeze",
)
ONE = "hydra.sweeper.study.n_trials=1"


def learning_rate(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [config.optimizer.learning_rate])


@pytest.mark.usefixtures("no_finish")
def test_a_study_of_version_0_1_goes_on_and_is_still_told_from_another() -> None:
    sweep(learning_rate, "hydra.sweeper.study.n_trials=1")
    record = StudyRecord(studies.load("quickstart", STORAGE))
    assert record.identity is not None
    older = {key: value for key, value in record.identity.items() if key not in UNKNOWN}
    record.identity = older | {"data.direction": "maximize"}
    study = sweep(learning_rate, "hydra.sweeper.study.n_trials=2")
    assert len(study.trials) == 2
    StudyRecord(study).identity = older
    was = "trials of the two cannot be compared:\n  model.gradient_checkpointing: was False, is True"
    with pytest.raises(StudyError, match=was):
        sweep(learning_rate, "hydra.sweeper.study.n_trials=3", "model.gradient_checkpointing=true")
    with pytest.raises(StudyError, match="model.freeze: was None, is 'encoder'\nstart another"):
        sweep(learning_rate, "hydra.sweeper.study.n_trials=3", "model.freeze=encoder")


def test_a_study_of_another_program_is_refused_and_left_alone() -> None:
    Path("mlruns").mkdir(exist_ok=True)
    foreign = optuna.create_study(study_name="quickstart", storage=STORAGE)
    told = (
        "study 'quickstart' has no record of a command: another program made it,.*0 trials; it is to minimize"
    )
    with pytest.raises(StudyError, match=told):
        sweep(lambda config, trial: evaluate(trial, [0.5]), ONE)
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with pytest.raises(StudyError, match="another program made it,.*2 trials"):
        sweep(lambda config, trial: evaluate(trial, [0.5]), ONE)
    found = studies.load("quickstart", STORAGE)
    assert not found.user_attrs and len(found.trials) == 2


@pytest.mark.usefixtures("no_finish")
def test_a_study_that_was_killed_when_it_was_just_made_is_begun() -> None:
    Path("mlruns").mkdir(exist_ok=True)
    optuna.create_study(study_name="quickstart", storage=STORAGE, direction="maximize")
    assert len(sweep(lambda config, trial: evaluate(trial, [0.5]), ONE).trials) == 1
    optuna.delete_study(study_name="quickstart", storage=STORAGE)
    begun = optuna.create_study(study_name="quickstart", storage=STORAGE, direction="maximize")
    StudyRecord(begun).write_all(hashed_seeds=True)
    begun.enqueue_trial({"optimizer.learning_rate": 1e-3})  # an earlier version queued before it identified
    study = sweep(lambda config, trial: evaluate(trial, [0.5]), ONE)
    assert [trial.params["optimizer.learning_rate"] for trial in study.trials] == [1e-3]


def test_points_are_queued_once_and_all_trials_are_read_once_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    study.add_trial(create_trial(value=1.0, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}))
    reads, read = [], study.get_trials
    monkeypatch.setattr(study, "get_trials", lambda **options: reads.append(1) or read(**options))
    studies.enqueue_new(study, [({"x": one / 10}, {"by": "me"}) for one in (3, 5, 3, 7)])
    studies.enqueue_new(study, [({"x": 0.7}, {})])
    assert [trial.system_attrs.get("fixed_params") for trial in read()] == [None, {"x": 0.3}, {"x": 0.7}]
    assert len(reads) == 2 and read()[1].user_attrs == {"by": "me"}


@pytest.mark.usefixtures("no_finish")
def test_a_study_says_whose_f1_it_maximizes() -> None:
    study = sweep(learning_rate, "hydra.sweeper.study.n_trials=1", "data.metric=f1")
    best = report.best(study)
    assert (best.metric, best.score) == ("f1", "f1 of 'entailment'")
    assert summary.lines(best)[0].startswith("best:         f1 of 'entailment' 0.0")


@pytest.mark.usefixtures("no_finish")
def test_a_study_of_version_0_1_that_scored_the_other_labels_f1_is_another_study() -> None:
    study = sweep(learning_rate, "hydra.sweeper.study.n_trials=1", "data.metric=f1")
    record = StudyRecord(study)
    assert record.identity is not None
    record.identity = {key: value for key, value in record.identity.items() if key != "data.positive_label"}
    with pytest.raises(StudyError, match="positive_label: was 'not_entailment', is 'entailment'"):
        sweep(learning_rate, "hydra.sweeper.study.n_trials=2", "data.metric=f1")
    second = "data.positive_label=not_entailment"
    assert len(sweep(learning_rate, "hydra.sweeper.study.n_trials=2", "data.metric=f1", second).trials) == 2


def test_an_objective_that_cannot_score_the_labels_is_refused(own_folder: Path) -> None:
    (own_folder / "t.csv").write_text("text,label\na,fraud\nb,legit\n" * 4)
    table = ("data=table", "data.path=t.csv", "data.text_columns=[text]", "data.eval_split=train")
    both = "+hydra.sweeper.study.objectives={f1: maximize, train_runtime: minimize}"
    with pytest.raises(
        ConfigError, match="objectives: got 'f1'; known: accuracy, balanced_accuracy, f1_macro"
    ):
        sweep(learning_rate, *table, both)


@pytest.mark.parametrize(
    "metric",
    ["data.metric=roc_auc", "hydra.sweeper.study.objectives={roc_auc: maximize, loss: minimize}"],
)
def test_what_cannot_score_the_final_rows_is_refused_before_the_search(metric: str) -> None:
    final = "data.final_eval_split='test[:1]'"
    with pytest.raises(ConfigError, match="roc_auc.*none of the 1 rows of the final score have the label"):
        sweep(learning_rate, "hydra.sweeper.study.n_trials=1", final, metric)


@pytest.mark.usefixtures("no_finish")
def test_another_table_under_the_same_name_is_told_by_its_path(own_folder: Path) -> None:
    for name in ("a", "b"):
        (own_folder / f"{name}.csv").write_text(f"text,label\n{name},fraud\nb,legit\n" * 4)
    table = (
        "data=table",
        "data.text_columns=[text]",
        "data.eval_split=train",
        "hydra.sweeper.study.n_trials=1",
    )
    named = "hydra.sweeper.study.name=quickstart"
    sweep(learning_rate, *table, named, "data.path=a.csv")
    with pytest.raises(StudyError, match=r"\n  data.path: was 'a.csv', is 'b.csv'\n  data.train content"):
        sweep(learning_rate, *table, named, "data.path=b.csv")
    (own_folder / "a.csv").rename(own_folder / "moved.csv")
    assert len(sweep(learning_rate, *table, named, "data.path=moved.csv").trials) == 1


@pytest.mark.usefixtures("no_finish")
def test_a_study_from_before_shortcuts_goes_on_without_them(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[list[str]] = []

    def training(config: RunConfig, trial: RunHooks) -> float:
        seen.append(config.trainer.shortcuts)
        return learning_rate(config, trial)

    record = StudyRecord(sweep(training, "hydra.sweeper.study.n_trials=1"))
    assert record.identity is not None
    record.identity = {key: value for key, value in record.identity.items() if key != "trainer.shortcuts"}
    sweep(training, "hydra.sweeper.study.n_trials=2")
    assert seen == [list(SHORTCUTS), []]
    assert "is from before trainer.shortcuts, and goes on without them" in capfd.readouterr().err
    with pytest.raises(StudyError, match=r"trainer.shortcuts: was \[\], is \['first_token'\]"):
        sweep(training, "hydra.sweeper.study.n_trials=3", "trainer.shortcuts=[first_token]")


@pytest.mark.usefixtures("no_finish")
def test_a_grid_begins_with_its_longest_points() -> None:
    space = "trainer.num_train_epochs=1,3,2", "trainer.per_device_train_batch_size=8,16"
    fixed = "hydra.sweeper.study.sampler=grid", "optimizer.learning_rate=1e-3"
    study = sweep(learning_rate, *fixed, *space)
    assert [trial.params["trainer.num_train_epochs"] for trial in study.trials] == [3, 3, 2, 2, 1, 1]


@pytest.mark.usefixtures("no_finish")
def test_a_study_of_known_points_trains_its_longest_ones_first_behind_the_baseline() -> None:
    rate, epochs = "optimizer.learning_rate", "trainer.num_train_epochs"
    points = ", ".join(
        f"{{{epochs}: {n}, {rate}: {n}.{index}e-4}}" for index, n in enumerate((2, 1, 3, 1, 3))
    )
    space = f"{rate}=tag(log,interval(1e-5,1e-2))", f"{epochs}=range(1,4)"
    fixed = "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.n_trials=4"
    study = sweep(learning_rate, *space, *fixed, f"hydra.sweeper.enqueue=[{points}]")
    assert [trial.params[epochs] for trial in study.trials[:4]] == [2, 3, 1, 1]
