"""What a person asks of a study lies in it, and whoever works on it does so, whoever dies meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from test_study import SPACE, complete, hand_back, recover, run_out, value

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import ConfigError, NotSteered, StudyError
from finesweep.hooks import RunState
from finesweep.io.output import user
from finesweep.monitor.events import ending
from finesweep.monitor.report import describe
from finesweep.monitor.snapshot import take_snapshot
from finesweep.study import studies, unwritten
from finesweep.study.budget import keep_extended
from finesweep.study.heartbeat import beat
from finesweep.study.opened import OpenedStudy
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Limits, Outcome, Request, Steered, StudyRecord, TrialRecord
from finesweep.study.remaining import has_work, is_over
from finesweep.study.selection import failures
from finesweep.study.signals import stop
from finesweep.study.space import Dimension, named
from finesweep.study.steering import extend, halt, open_for_steering, steered, stop_trial, try_point


def queue(tmp_path: Path, n_trials: int = 3, **settings: object) -> TrialQueue:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    config = StudyConfig(name="s", storage=storage, n_trials=n_trials, **settings)  # type: ignore[arg-type]
    attrs = StudyRecord.attributes(
        n_trials=n_trials, metric="m", limits=Limits(config.timeout_s, config.max_train_steps), space=SPACE
    )
    studies.create(config, {"m": Direction.maximize}, [], attrs)
    return TrialQueue(config, SPACE)


def person(tmp_path: Path) -> OpenedStudy:
    return open_for_steering("s", f"sqlite:///{tmp_path}/optuna.db")


def test_workers_that_run_go_by_the_budget_that_a_person_sets(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    assert len(run_out(books)) == 2 and is_over(books)
    before, after = extend(person(tmp_path), {"n_trials": 4, "max_train_steps": 9})
    assert (before.n_trials, after.n_trials, after.max_train_steps) == (2, 4, 9)
    assert has_work(books) and not is_over(books)
    assert len(run_out(books)) == 2
    extend(person(tmp_path), {"n_trials": 1, "max_train_steps": None})
    assert run_out(books) == [] and is_over(books)
    asked = [one.what for one in steered(books.study)]
    assert asked == ["extend n_trials=4 max_train_steps=9", "extend n_trials=1 max_train_steps=null"]
    assert StudyRecord(books.study).limits == Limits()


def test_a_budget_that_is_not_legal_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    books = queue(tmp_path)
    with pytest.raises(ConfigError, match="^n_trials: got 0; legal: a whole number, 1 or more"):
        extend(person(tmp_path), {"n_trials": 0})
    assert StudyRecord(books.study).n_trials == 3 and steered(books.study) == []


@pytest.mark.parametrize(
    ("given", "kept", "told"),
    [(20, 60, "n_trials is 60, as"), (40, 40, "n_trials is 40; finesweep extend had"), (60, 60, "")],
)
def test_the_same_command_keeps_an_extended_budget_and_another_sets_it(
    tmp_path: Path, given: int, kept: int, told: str
) -> None:
    books = queue(tmp_path, n_trials=20)
    StudyRecord(books.study).history = [{"n_trials": 20}]
    extend(person(tmp_path), {"n_trials": 60})
    config = StudyConfig(n_trials=given)
    lines = keep_extended(config, StudyRecord(books.study))
    assert config.n_trials == kept
    assert "".join(lines).startswith(told) and bool(lines) == bool(told)


def test_a_trial_that_runs_is_stopped_with_the_next_heartbeat_and_not_tried_again(tmp_path: Path) -> None:
    books = queue(tmp_path)
    trial = books.next_trial()
    assert trial is not None
    assert not beat(trial, None).trial_is_stopped
    assert stop_trial(person(tmp_path), 0) is TrialState.RUNNING
    assert beat(trial, None).trial_is_stopped
    hand_back(books, 0)  # its worker was told to end before it came to that
    assert [one.state for one in books.trials()] == [TrialState.PRUNED]
    assert len(run_out(books)) == 2  # it counts as one of three
    with pytest.raises(NotSteered, match="trial 0 of s has ended already: PRUNED"):
        stop_trial(person(tmp_path), 0)


def test_a_trial_that_was_stopped_before_its_worker_died_is_not_tried_again(tmp_path: Path) -> None:
    books = queue(tmp_path)
    trial = books.next_trial()
    assert trial is not None
    stop_trial(person(tmp_path), 0)
    books.let_go(0)
    assert recover(books) == [(0, "PRUNED")]
    assert [one.state for one in books.trials()] == [TrialState.PRUNED]


def test_a_trial_that_waits_leaves_the_queue_and_counts_for_nothing(tmp_path: Path) -> None:
    books = queue(tmp_path)
    for x in (0.25, 0.75):
        books.study.enqueue_trial({"x": x, "y": 0.5})
    assert stop_trial(person(tmp_path), 0) is TrialState.WAITING
    points = run_out(books)
    assert len(points) == 3 and points[0]["x"] == 0.75
    assert books.trials()[0].state is TrialState.FAIL and failures(books.trials()) == []
    outcomes = describe(books.study).outcomes
    assert outcomes["taken off"] == 1 and "handed on" not in outcomes
    assert (
        ending(take_snapshot(books.study), books.trials()[0])
        == f"trial 0 (stopped by {user()}) leaves the queue"
    )


def test_what_was_handed_on_names_the_trial_that_goes_on(tmp_path: Path) -> None:
    books = queue(tmp_path)
    assert books.next_trial()
    hand_back(books, 0)
    with pytest.raises(NotSteered, match="trial 0 of s was handed on; trial 1 tries it again"):
        stop_trial(person(tmp_path), 0)
    with pytest.raises(StudyError, match="study 's' has no trial 2; there: 0 to 1"):
        stop_trial(person(tmp_path), 2)


def test_a_point_that_a_person_queues_is_next_and_only_retries_come_before_it(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=4)
    assert books.next_trial()
    books.study.enqueue_trial({"x": 0.25, "y": 0.5})
    queued = try_point(person(tmp_path), {"x": 0.75})
    assert (queued.trial, queued.drawn, queued.in_place_of) == (2, ["y"], None)
    hand_back(books, 0)
    retried, tried, waited, _ = run_out(books)
    assert TrialRecord(books.trials()[3]).retry_of == 0 and retried == books.trials()[3].params
    assert tried["x"] == 0.75 and waited == {"x": 0.25, "y": 0.5}
    ordinals = [TrialRecord(trial).ordinal for trial in books.trials()]
    assert ordinals == [0, 1, 2, 0, 3]  # no suggestion twice


def test_a_point_that_waits_already_is_tried_once(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=2)
    for x in (0.25, 0.75):
        books.study.enqueue_trial({"x": x, "y": 0.5})
    assert try_point(person(tmp_path), {"y": 0.5, "x": 0.75}).in_place_of == 1
    assert [point["x"] for point in run_out(books)] == [0.75, 0.25]


def test_a_tried_point_says_what_comes_before_it_and_whose_value_it_gets(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=1)
    (point,) = run_out(books)
    first = try_point(person(tmp_path), {**point, "x": 0.25})
    second = try_point(person(tmp_path), point)
    assert (first.behind, first.known) == ([], None)
    assert (second.behind, second.known) == ([first.trial], 0)
    StudyRecord(books.study).history = [{"repeat_trials": True}]
    assert try_point(person(tmp_path), point).known is None


def test_a_point_outside_of_the_space_is_refused(tmp_path: Path) -> None:
    books = queue(tmp_path)
    with pytest.raises(ConfigError, match=r"^x: got 2; legal: 0.0 to 1.0"):
        try_point(person(tmp_path), {"x": 2})
    with pytest.raises(ConfigError, match=r"^xx is not swept; did you mean x\? legal: x, y"):
        try_point(person(tmp_path), {"xx": 0.5})
    assert books.trials() == []


def test_all_work_is_stopped_but_for_what_begins_later(tmp_path: Path) -> None:
    books = queue(tmp_path)
    StudyRecord(books.study).request = Request([], "config", None, None, "/project", began=1.0)
    trial = books.next_trial()
    assert trial is not None
    halt(person(tmp_path))
    heard = beat(trial, None)
    assert heard.halted is not None and StudyRecord(books.study).is_halted
    with stop.listening("here:1", began=heard.halted - 1):
        stop.hear(heard.stopped_commands, heard.halted)
        assert stop.requested
    with stop.listening("here:2", began=heard.halted + 1):
        stop.hear(heard.stopped_commands, heard.halted)
        assert not stop.requested
    assert [one.what for one in steered(books.study)] == ["stop"]


def test_a_space_is_read_as_it_was_written(tmp_path: Path) -> None:
    space = (
        Dimension("a", "a", IntDistribution(1, 9, step=2)),
        Dimension("b", "b", CategoricalDistribution([None, True, "x", 3, 0.5]), {}, "+b"),
        Dimension("c|b=x", "c", IntDistribution(1, 8, log=True), {"b": "x"}),
    )
    books = queue(tmp_path)
    StudyRecord(books.study).space = space
    stored = StudyRecord(studies.load("s", f"sqlite:///{tmp_path}/optuna.db")).space
    assert stored == space and named({"b": "x", "c": 2}, stored) == {"b": "x", "c|b=x": 2}


def test_a_signed_off_result_stays_though_the_trial_was_stopped(tmp_path: Path) -> None:
    books = queue(tmp_path)
    trial = books.next_trial()
    assert trial is not None
    books.sign_off(0, Outcome(RunState.COMPLETE, [value(trial)]))
    stop_trial(person(tmp_path), 0)
    books.tell(0)
    assert books.trials()[0].state is TrialState.COMPLETE


def test_a_stopped_trial_that_is_handed_back_is_signed_off_as_pruned(tmp_path: Path) -> None:
    """Its MLflow run is closed in the state that was signed off."""
    books = queue(tmp_path)
    assert books.next_trial() and books.next_trial()
    for number in (0, 1):
        stop_trial(person(tmp_path), number)
    assert books.sign_off(0, Outcome(RunState.INTERRUPTED)).state is RunState.PRUNED
    assert books.sign_off(1, Outcome(RunState.PAUSED)).state is RunState.PRUNED
    for number in (0, 1):
        books.tell(number)
    assert not any(TrialRecord(one).is_paused for one in books.trials())


def test_what_a_stopped_worker_could_only_keep_in_its_folder_is_closed_as_pruned(tmp_path: Path) -> None:
    books = queue(tmp_path)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).folder = str(tmp_path)
    unwritten.keep(tmp_path, Outcome(RunState.INTERRUPTED))
    stop_trial(person(tmp_path), 0)
    books.let_go(0)
    assert recover(books) == [(0, "PRUNED")]


def test_a_trial_that_ends_while_a_person_stops_it_gets_no_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, asks = queue(tmp_path), person(tmp_path)
    trial = books.next_trial()
    assert trial is not None
    holding = asks.holding

    @contextmanager
    def ends_first(number: int) -> Iterator[FrozenTrial | None]:
        complete(books, number, value(trial))
        with holding(number) as found:
            yield found

    monkeypatch.setattr(asks, "holding", ends_first)
    with pytest.raises(NotSteered, match="trial 0 of s has ended already: COMPLETE"):
        stop_trial(asks, 0)
    assert steered(books.study) == []


def test_the_value_of_a_stopped_trial_is_not_known(tmp_path: Path) -> None:
    books = queue(tmp_path)
    books.study.enqueue_trial({"x": 0.25, "y": 0.5})
    assert books.next_trial()
    stop_trial(person(tmp_path), 0)
    hand_back(books, 0)
    try_point(person(tmp_path), {"x": 0.25, "y": 0.5})
    again = books.next_trial()
    assert again is not None and again.params["x"] == 0.25 and TrialRecord(again).reused_of is None


def test_a_trial_that_an_edit_trains_again_is_not_taken_for_the_same_point(tmp_path: Path) -> None:
    books = queue(tmp_path)
    books.study.enqueue_trial({"x": 0.25, "y": 0.5}, TrialRecord.attributes(again=0))
    assert try_point(person(tmp_path), {"x": 0.25, "y": 0.5}).in_place_of is None


def test_requests_are_listed_by_time_whatever_zone_their_host_has(tmp_path: Path) -> None:
    books = queue(tmp_path)
    asked = [
        Steered("second", "u", "h", "2026-01-01T09:30:00+00:00"),
        Steered("first", "u", "h", "2026-01-01T10:00:00+01:00"),
    ]
    StudyRecord(books.study).steered = asked
    assert [one.what for one in steered(books.study)] == ["first", "second"]


def test_a_grid_has_as_many_points_however_often_they_pause(tmp_path: Path) -> None:
    books = queue(tmp_path)
    StudyRecord(books.study).history = [{"sampler": "grid"}]
    books.study.enqueue_trial({"x": 0.25, "y": 0.5})
    books.study.enqueue_trial({"x": 0.25, "y": 0.5}, TrialRecord.attributes(continues=0))
    with pytest.raises(ConfigError, match="n_trials: got 2; legal: 1 or less"):
        extend(person(tmp_path), {"n_trials": 2})
