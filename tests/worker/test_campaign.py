"""The campaign in short; `make campaign` is the long one."""

import copy
import json
import multiprocessing
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import campaign
import optuna
import pytest
from aftermath import SweepAftermath, problems, read
from campaign import WORKER, Kill, Plan
from crashing import CONFIRMATION, EVERY, PAUSING, PRUNING, RECOVERY, Latch, places
from mlflow import MlflowClient
from optuna.trial import TrialState
from sweeping import STORAGE, evaluate, sweep

from finesweep.config.run import RunConfig
from finesweep.hooks import RunHooks
from finesweep.study import studies
from finesweep.study.records import TrialRecord

# In the order in which they come; each leaves something for the next command to repair.
KILLS = [
    Kill("half suggested", 2, 0.0, 0.0),
    Kill("checkpoint named", 1, 0.0, 0.0),
    Kill("taken", 1, 0.0, 0.0),  # the retry, before it has adopted the checkpoint
    Kill("signed off", 1, 0.0, 0.0),
]


@pytest.mark.slow
def test_a_study_that_is_killed_again_and_again_is_the_one_that_was_left_alone(tmp_path: Path) -> None:
    report = campaign.run(
        tmp_path / "studies", [(Plan(n_trials=4, rows=200, cold=False), KILLS)], random.Random(0)
    )
    assert report["problems"] == []
    assert report["kills"]["by_kind"] == {kill.kind: 1 for kill in KILLS}
    assert report["trials"]["retries"] >= 2


@pytest.mark.long
def test_a_pausing_study_that_is_killed_at_its_pauses_and_promotions_has_the_same_weights(
    tmp_path: Path,
) -> None:
    plan, kills = Plan(n_trials=6, rows=200, cold=False), [Kill(kind, 1, 0.0, 0.0) for kind in PAUSING]
    parts = [(plan, []), (replace(plan, pause=True), kills)]
    report = campaign.run(tmp_path / "studies", parts, random.Random(0))
    assert report["problems"] == []
    assert report["kills"]["by_kind"] == {kill.kind: 1 for kill in kills}
    assert report["trials"]["promotions"] >= 1
    assert report["trials"]["compared"] == report["trials"]["weights_equal"] >= 1


@pytest.mark.long
def test_studies_pass_every_place(tmp_path: Path) -> None:
    """A place that the code no longer passes would kill nobody. Those of a recovery need a death."""
    passed, small = tmp_path / "passed", Plan(n_trials=6, rows=200, cold=False)
    passed.mkdir()
    for plan in (replace(small, confirm=True), replace(small, pause=True)):
        folder = tmp_path / plan.suffix
        folder.mkdir()
        program = ("tests/support/crashing.py", EVERY, "0", str(passed))
        arguments = [*plan.arguments, "hydra/launcher=basic"]
        command = campaign.Command(folder, *arguments, program=program, cold=False)
        command.wait(lambda command=command: command.over)
        assert command.code == 0, command.complaint()
    seen = {place.name for place in passed.iterdir()}
    assert {*places()} - seen <= {*RECOVERY}


@pytest.mark.parametrize("seed", range(5))
def test_forty_eight_kills_come_to_every_place_and_at_random_times_too(seed: int) -> None:
    plain, late, paused = campaign.draw(48, 8, 8, random.Random(seed))
    kinds = {kill.kind for kill in (*plain, *late, *paused)}
    assert (len(plain), len(late), len(paused)) == (32, 8, 8)
    assert kinds >= {*places(), WORKER}
    assert not {kill.kind for kill in plain} & {*CONFIRMATION, *PRUNING, *PAUSING}
    assert not {kill.kind for kill in late} & {*PAUSING}
    assert not {kill.kind for kill in paused} & {*CONFIRMATION, *PRUNING}


def arm_all(folder: Path) -> None:
    for name, place in places().items():
        place(Latch(1, folder / name))


def test_every_place_is_still_there(tmp_path: Path) -> None:
    """In another process: places patch what they stand for."""
    process = multiprocessing.get_context("fork").Process(target=arm_all, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0


def learn(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.5, 0.5 + config.optimizer.learning_rate])


@pytest.fixture
def over(own_folder: Path, no_finish: None) -> Path:
    """A study of three trials, of which the test's own training left no weights."""
    sweep(learn, "hydra.sweeper.study.n_trials=3", "hydra.sweeper.study.sampler=random")
    for trial in read(own_folder, "quickstart").trials:
        folder = SweepAftermath(own_folder).of(trial)
        (folder / "result.json").write_text(json.dumps({"status": "FINISHED"}))
    return own_folder


def again(folder: Path) -> None:
    """Suggestion 1, a second time."""
    study = studies.load("quickstart", STORAGE)
    first = study.get_trials()[1]
    attrs = {key: value for key, value in first.user_attrs.items() if key != TrialRecord.run_id.key}
    study.add_trial(
        optuna.trial.create_trial(
            params=first.params, distributions=first.distributions, value=first.value, user_attrs=attrs
        )
    )


def waiting(folder: Path) -> None:
    studies.load("quickstart", STORAGE).enqueue_trial({})


def running_run(folder: Path) -> None:
    _client(folder).update_run(_run(folder, 1), status="RUNNING")


def other_state(folder: Path) -> None:
    _client(folder).set_tag(_run(folder, 1), "finesweep.state", "PRUNED")


def other_retry(folder: Path) -> None:
    _client(folder).set_tag(_run(folder, 1), "finesweep.retry_of", "0")


def run_twice(folder: Path) -> None:
    _client(folder).set_tag(_run(folder, 1), "finesweep.trial", "0")


def training_left(folder: Path) -> None:
    (SweepAftermath(folder).of(read(folder, "quickstart").trials[0]) / "training").mkdir()


def unwritten_result(folder: Path) -> None:
    (SweepAftermath(folder).of(read(folder, "quickstart").trials[0]) / "result.json").unlink()


def _client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")


def _run(folder: Path, number: int) -> str:
    return str(TrialRecord(read(folder, "quickstart").trials[number]).run_id)


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (training_left, "trial 0 is COMPLETE and has training"),
    (unwritten_result, "trial 0 is COMPLETE, its result.json not there"),
    (running_run, "run trial-0001 is RUNNING"),
    (other_state, "trial 1 is COMPLETE in Optuna and ('RUNNING', 'PRUNED') in MLflow"),
    (other_retry, "trial 1 tries None again, its run says 0"),
    (run_twice, "2 runs say that they are trial 0"),
    (again, "how often: {0: 1, 1: 2, 2: 1}"),
    (waiting, "trial 4 is WAITING"),
]


def test_the_campaign_sees_what_is_wrong(over: Path) -> None:
    undisturbed = read(over, "quickstart")
    seen = set(problems(undisturbed, undisturbed, 3))
    for damage, said in DAMAGES:
        damage(over)
        found = set(problems(read(over, "quickstart"), undisturbed, 3)) - seen
        assert any(said in text for text in found), (said, found)
        seen |= found


def test_the_campaign_sees_other_results(over: Path) -> None:
    aftermath = read(over, "quickstart")
    undisturbed = SweepAftermath(over, aftermath.trials, aftermath.conclusion)
    undisturbed.results = copy.deepcopy(aftermath.results)
    assert not any("undisturbed" in text for text in problems(aftermath, undisturbed, 3))
    for key, value in (("weights", "0"), ("value", 0.0), ("params", {})):
        undisturbed.results = copy.deepcopy(aftermath.results)
        undisturbed.results[2][key] = value
        assert any(f"suggestion 2: {key} is" in text for text in problems(aftermath, undisturbed, 3))
    assert {trial.state for trial in aftermath.trials} == {TrialState.COMPLETE}
