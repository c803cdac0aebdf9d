"""What MLflow's pages say of a study and of its trials."""

import pytest
from sweeping import evaluate, runs, sweep

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.hooks import RunHooks
from finesweep.monitor import description
from finesweep.tags import Tag
from finesweep.tracking import TrackedRun, open_store, start_run

GRID = ("optimizer.learning_rate=1e-3,1e-4,1e-5", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid",
        "hydra.sweeper.study.pruner=median",
        "+hydra.sweeper.study.pruner_options={n_startup_trials:1}")  # fmt: skip


def training(config: RunConfig, trial: RunHooks) -> float:
    """The first is best, the second falls behind, and the third fails."""
    if trial.run_name == "trial-0002":
        raise ValueError("no | such\n`thing` <b>here</b>")
    level = 0.9 if trial.run_name == "trial-0000" else 0.1
    return evaluate(trial, [level / 2, level])


@pytest.mark.usefixtures("no_finish")
def test_a_studys_run_reads_as_its_result_and_each_trial_has_a_line() -> None:
    study = sweep(training, *GRID)
    tracked = runs()
    notes = {name: run.data.tags[Tag.NOTE] for name, run in tracked.items()}
    best, pruned = tracked["trial-0000"].info, tracked["trial-0001"].info
    page = f"#/experiments/{best.experiment_id}/runs"
    for text in (
        "### accuracy 0.9000 (trial 0)",
        "**Finished**: 2 of 3 trials" if study.trials[-1].number == 2 else "**Stopped**",
        "1 complete, 1 pruned, 1 failed",
        "| optimizer.learning_rate | 0.001 |",
        f"| 1 | [trial 0]({page}/{best.run_id}?workflowType=machine_learning) | 0.9000 | 0.001 |",
        f"- [trial 1]({page}/{pruned.run_id}?workflowType=machine_learning): pruned at 50 per cent of its "
        "training with accuracy 0.0500",
        "failed: `ValueError: no | such 'thing' <b>here</b>`",
        "finesweep predict quickstart FILE --out predictions.csv",
        f"finesweep reproduce {best.run_id}",
    ):
        assert text in notes["quickstart"]
    assert notes["trial-0000"].startswith("complete: accuracy 0.9000 in ")
    assert notes["trial-0001"].startswith("pruned at 50 per cent")
    assert notes["trial-0002"] == "failed: `ValueError: no | such 'thing' <b>here</b>`"
    experiment = open_store(TrackingConfig()).get_experiment(best.experiment_id)
    assert "Trainings on one data set" in experiment.tags[Tag.NOTE]
    assert experiment.tags[Tag.EXPERIMENT_KIND] == "custom_model_development"


@pytest.mark.usefixtures("no_finish")
def test_a_description_keeps_to_what_mlflow_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    study = sweep(training, *GRID)
    whole = description.of_study(study, works=True)
    assert whole.startswith("### accuracy 0.9000 (trial 0)\n\n`learning_rate=0.001`\n\n**Running**: 2 of ")
    monkeypatch.setattr(description, "LIMIT", len(whole) - 1)
    shorter = description.of_study(study, works=True)
    assert len(shorter) < len(whole) and "finesweep reproduce" in shorter


def test_a_description_that_a_person_edited_stays() -> None:
    config = TrackingConfig()
    run = start_run(config, "demo", "run", {})
    client = open_store(config)

    def note() -> str:
        return str(client.get_run(run.run_id).data.tags[Tag.NOTE])

    run.describe("one, in {experiment_id}")
    assert note() == "one, in 1"
    TrackedRun(client, run.run_id).describe("two")
    assert note() == "two"
    client.set_tag(run.run_id, Tag.NOTE, "a person's")
    run.describe("three")
    assert note() == "a person's"
    client.set_tag(run.run_id, Tag.NOTE, "")  # given back
    run.describe("four")
    assert note() == "four"
