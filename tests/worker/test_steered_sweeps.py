"""`finesweep stop`, `try` and `extend` while a study runs, as a person types them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import SMALL, finesweep, start
from sweeping import STORAGE, evaluate, runs, sweep
from test_sweep import running

from finesweep.cli import main
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError, NotSteered
from finesweep.hooks import RunHooks
from finesweep.study import studies
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.worker.trial import RunningTrial

pytestmark = pytest.mark.usefixtures("no_finish")
SPACE = ("optimizer.learning_rate=interval(1e-4,1e-3)", "trainer.num_train_epochs=1,2",
         "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=random")  # fmt: skip
TWO = (*SPACE, "hydra.sweeper.study.n_trials=2")


def say(*arguments: str) -> None:
    main._invoke([*arguments, "--storage", STORAGE])


def beat(trial: RunHooks) -> None:
    """Does what the trial's thread does every other second."""
    assert isinstance(trial, RunningTrial)
    trial._write_heartbeat()


def plain(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [config.optimizer.learning_rate])


def test_a_stopped_trial_is_pruned_and_the_others_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if trial.run_name == "trial-0000":
            trial.evaluated(0.5, 0.5)
            say("stop", "quickstart#0")
            beat(trial)
            trial.check()
            raise AssertionError("it goes on")
        return plain(config, trial)

    study = sweep(training, *TWO)
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "COMPLETE"]
    assert study.trials[0].value == 0.5
    assert {name: run.data.tags["finesweep.state"] for name, run in runs().items() if "trial" in name} == {
        "trial-0000": "PRUNED", "trial-0001": "COMPLETE"
    }  # fmt: skip
    printed = capfd.readouterr()
    assert "trial 0 of quickstart ends at its next step; workers: 1 on 1 host" in printed.out
    assert "steered:      stop trial 0 (" in printed.out
    with pytest.raises(NotSteered, match="trial 0 of quickstart has ended already: PRUNED"):
        say("stop", "quickstart#0")


def test_all_workers_hand_their_trials_back_and_the_same_command_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if trial.run_name == "trial-0000":
            say("stop", "quickstart")
            beat(trial)
            assert trial.stopping
            raise KeyboardInterrupt  # as a training does that has saved
        return plain(config, trial)

    with pytest.raises(KeyboardInterrupt):
        sweep(training, *TWO)
    assert "its workers save and hand their trials back (1 on 1 host" in capfd.readouterr().out
    study = studies.load("quickstart", STORAGE)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert StudyRecord(study).is_halted
    say("status", "quickstart")
    assert "stopped:      all work, by a person" in capfd.readouterr().out
    say("stop", "quickstart")
    assert "no worker runs a trial; those that were started before and have yet" in capfd.readouterr().out
    done = sweep(training, *TWO)
    assert [trial.state.name for trial in done.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert not StudyRecord(done).is_halted


def test_a_point_is_tried_next_by_a_worker_that_runs(capfd: pytest.CaptureFixture[str]) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if trial.run_name == "trial-0000":
            capfd.readouterr()
            say("try", "quickstart", "optimizer.learning_rate=5e-4", "--json")
        return plain(config, trial)

    study = sweep(training, *TWO)
    queued = json.loads(capfd.readouterr().out.partition("\n\n")[0])  # the summary follows
    assert queued == {
        "study": "quickstart", "trial": 1, "point": {"optimizer.learning_rate": 5e-4},
        "drawn": ["trainer.num_train_epochs"], "in_place_of": None, "behind": [], "known": None,
    }  # fmt: skip
    assert len(study.trials) == 2 and study.trials[1].params["optimizer.learning_rate"] == 5e-4
    say("try", "quickstart", "optimizer.learning_rate=6e-4")
    said = capfd.readouterr().out
    assert "trial 2 of quickstart is next: optimizer.learning_rate=6e-4" in said
    assert "it waits, for n_trials=2 is used up; more with: finesweep extend quickstart" in said
    assert "no worker is at work; one begins with: finesweep worker quickstart" in said
    with pytest.raises(ConfigError, match="learning_rate: got 1.0; legal: 0.0001 to 0.001"):
        say("try", "quickstart", "optimizer.learning_rate=1.0")
    with pytest.raises(ConfigError, match="legal: KEY=VALUE, with one value"):
        say("try", "quickstart", "optimizer.learning_rate=5e-4,6e-4")


def test_an_extended_study_goes_on_at_once_and_the_same_command_keeps_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if trial.run_name == "trial-0001":
            say("extend", "quickstart", "n_trials=4", "max_train_steps=1000")
        return plain(config, trial)

    study = sweep(training, *TWO)
    assert len(study.trials) == 4
    assert "n_trials was 2, is 4; max_train_steps was null, is 1000" in capfd.readouterr().out
    say("extend", "quickstart", "n_trials=5")
    assert len(sweep(plain, *TWO).trials) == 5
    assert "n_trials is 5, as finesweep extend set it; it was 2" in capfd.readouterr().err
    assert len(sweep(plain, *SPACE, "hydra.sweeper.study.n_trials=6").trials) == 6
    assert "n_trials is 6; finesweep extend had set it to 5" in capfd.readouterr().err
    history = StudyRecord(study).history or []
    assert [command["n_trials"] for command in history] == [2, 2, 6]  # what each of them said
    for text, legal in (("n_trial=5", "did you mean n_trials"), ("n_trials=x", "a whole number")):
        with pytest.raises(ConfigError, match=legal):
            say("extend", "quickstart", text)


def test_an_extended_study_that_stop_when_ends_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    def perfect(config: RunConfig, trial: RunHooks) -> float:
        return evaluate(trial, [1.0])

    sweep(perfect, *SPACE, "hydra.sweeper.study.n_trials=4", "hydra.sweeper.study.stop_when=noise")
    capfd.readouterr()
    say("extend", "quickstart", "n_trials=9")
    said = capfd.readouterr().out
    assert "n_trials was 4, is 9; no further point is begun: stop_when=noise after 1 of 9 trials" in said
    assert said.endswith("its command with stop_when=none goes on\n")


def test_a_trial_that_was_tried_says_who_asked() -> None:
    sweep(plain, *TWO)
    say("try", "quickstart", "optimizer.learning_rate=5e-4", "trainer.num_train_epochs=1")
    study = sweep(plain, *SPACE, "hydra.sweeper.study.n_trials=3")
    asked = TrialRecord(study.trials[2]).tried
    assert asked is not None and asked.what.startswith("try optimizer.learning_rate=0.0005")
    assert asked.user and asked.host and asked.time


@pytest.mark.slow
def test_processes_hear_within_seconds_what_another_shell_asks(tmp_path: Path) -> None:
    """One trial is stopped, its worker goes on with the next one; then all work is, and trials are saved."""
    arguments = ["-m", *SMALL[2:], "data.demo_rows=4000", "trainer.num_train_epochs=8,9,10,11",
                 "optimizer.learning_rate=1e-3", "trainer.per_device_train_batch_size=8"]  # fmt: skip
    process = start(*arguments, cwd=tmp_path)
    number = running(tmp_path, process).number
    assert finesweep("stop", f"quickstart#{number}", cwd=tmp_path).returncode == 0
    await_that(lambda: studies.load("quickstart", STORAGE).trials[number].state.name == "PRUNED")
    await_that(lambda: its_worker_goes_on(number))
    asked = finesweep("stop", "quickstart", cwd=tmp_path)
    assert (asked.returncode, "save and hand their trials back" in asked.stdout) == (0, True), asked
    said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    study = studies.load("quickstart", STORAGE)
    left = [trial for trial in study.trials if trial.state.name == "WAITING"]
    assert left and all(TrialRecord(trial).retry_of is not None for trial in left)
    assert not [trial for trial in study.trials if trial.state.name == "RUNNING"]
    again = finesweep("stop", f"quickstart#{number}", cwd=tmp_path)
    assert (again.returncode, "has ended already: PRUNED" in again.stderr) == (1, True), again


def its_worker_goes_on(number: int) -> bool:
    """Tells whether the worker of a trial that has ended runs another one."""
    trials = studies.load("quickstart", STORAGE).trials
    owner = TrialRecord(trials[number]).owner
    mine = [TrialRecord(t) for t in trials if t.state.name == "RUNNING" and TrialRecord(t).owner == owner]
    return any(record.run_id is not None for record in mine)


def await_that(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
