"""Paused trials in the study's books: each point counts once, and no promotion is lost or made twice."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from test_study import complete, queue, recover

from finesweep.config.run import Direction
from finesweep.errors import ConfigError
from finesweep.hooks import Noise, RunState
from finesweep.monitor import eta
from finesweep.monitor.listing import study_rows
from finesweep.monitor.report import describe
from finesweep.monitor.snapshot import take_snapshot
from finesweep.study import studies
from finesweep.study.baseline import is_baseline
from finesweep.study.budget import spent
from finesweep.study.claiming import Claim
from finesweep.study.drawing import _as_sampler_sees
from finesweep.study.ending import end_trial
from finesweep.study.pausing import Pausing, RungCheck, add_continuation, each_once, waiting
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Limits, Outcome, Progress, Steered, StudyRecord, TrialRecord
from finesweep.study.remaining import is_over, more_may_come
from finesweep.study.samplers import try_out
from finesweep.study.selection import count_finished
from finesweep.study.space import Dimension
from finesweep.study.steering import open_for_steering, stop_trial, try_point
from finesweep.worker.paused import give_up_all, give_up_surplus
from finesweep.worker.trial import RunningTrial

FORK = multiprocessing.get_context("fork")
STEPS = 8  # evaluations of each trial, so that one of them is at each rung
Level = Callable[[int], float]  # the value of a trial at its end, by its ordinal


def falling(ordinal: int) -> float:
    return 1.0 - ordinal / 20


def pausing_queue(folder: Path, **settings: object) -> TrialQueue:
    from finesweep.config.study import Pruner

    early = {"min_resource": 12.5}  # rungs at 12.5, 25 and 50 per cent
    fixed = {"sampler": "random", "pruner": Pruner.pause, "pruner_options": early}
    return queue(folder, **fixed | settings)


def train(books: TrialQueue, trial: optuna.Trial, level: Level, steps: int = STEPS) -> bool:
    """Trains a trial to its end or to a pause, as a worker does. Returns whether it is complete.

    steps: after which it is handed back, if they are fewer than all.
    """
    record, pausing = TrialRecord(trial), Pausing.of(books.study, books.config)
    assert record.ordinal is not None and pausing is not None
    check, curve = RungCheck(pausing, books.study, record, trial.number), list[tuple[float, float]]()
    earlier = record.goes_on_from
    before = 0 if earlier is None else len(TrialRecord(books.trial(earlier)).curve or [])
    for step in range(1, steps + 1):
        value = level(record.ordinal) * step / STEPS
        curve.append((step / STEPS, value))
        progress = Progress(trained_steps=max(0, step - before))
        attrs = TrialRecord.attributes(curve=curve, progress=progress)
        record.write(attrs, {round(100 * step / STEPS): value})
        if step < STEPS and check.pauses(curve):
            books.sign_off(trial.number, Outcome(RunState.PAUSED))
            books.tell(trial.number)
            return False
    if steps < STEPS:
        books.sign_off(trial.number, Outcome(RunState.INTERRUPTED))
        books.tell(trial.number)
        return False
    complete(books, trial.number, value)
    return True


def run_out(books: TrialQueue, level: Level = falling) -> None:
    while trial := books.next_trial():
        train(books, trial, level)


def lineage(books: TrialQueue) -> list[tuple[int, str, int | None]]:
    """Ordinal, state and the trial that it continues, of each trial."""
    return [
        (TrialRecord(trial).ordinal or 0, trial.state.name, TrialRecord(trial).continues)
        for trial in books.trials()
    ]


@pytest.mark.parametrize("direction", list(Direction))
def test_a_paused_trial_goes_on_as_another_once_it_belongs_to_the_best(
    tmp_path: Path, direction: Direction
) -> None:
    books = pausing_queue(tmp_path, n_trials=2, direction=direction)
    sign = 1 if direction is Direction.maximize else -1
    run_out(books, lambda ordinal: sign * falling(ordinal))
    assert lineage(books) == [
        (0, "PRUNED", None),  # the first at its rung
        (1, "PRUNED", None),  # worse, so the first one is promoted
        (0, "PRUNED", 0),
        (0, "PRUNED", 2),  # the only one at its rung, but nothing better is left
        (0, "COMPLETE", 3),
    ]
    trials = books.trials()
    assert trials[4].params == trials[0].params
    assert [trial.last_step for trial in trials] == [12, 12, 25, 50, 100]
    assert all(TrialRecord(trial).is_paused == (trial.state is TrialState.PRUNED) for trial in trials)


def test_equal_points_go_on_together_and_each_counts_once(tmp_path: Path) -> None:
    """All of them train to their end, the ones that had paused as other trials."""
    books = pausing_queue(tmp_path, n_trials=3)
    run_out(books, lambda ordinal: 0.5)
    ended = [ordinal for ordinal, state, _ in lineage(books) if state == "COMPLETE"]
    assert sorted(ended) == [0, 1, 2]
    assert any(continues is not None for *_, continues in lineage(books))


def test_a_trial_that_is_signed_off_as_paused_is_promoted_once_it_is_told(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=1)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).curve = [(0.125, 0.5)]
    books.sign_off(0, Outcome(RunState.PAUSED))
    assert books.next_trial() is None and more_may_come(books)
    books.tell(0)
    following = books.next_trial()
    assert following is not None and TrialRecord(following).continues == 0


def test_each_point_counts_once(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=8)
    run_out(books)
    ordinals = Counter(TrialRecord(trial).ordinal for trial in books.trials())
    assert set(ordinals) == set(range(8)) and max(ordinals.values()) > 1
    assert count_finished(books.trials()) == 8
    seen = [trial for trial in each_once(books.trials()) if trial.state is not TrialState.FAIL]
    assert sorted(TrialRecord(trial).ordinal or 0 for trial in seen) == list(range(8))
    assert books.next_trial() is None and is_over(books)
    more = pausing_queue(tmp_path, n_trials=9)
    assert not is_over(more)
    trial = more.next_trial()
    assert trial and TrialRecord(trial).ordinal == 8


def test_a_winner_whose_weights_are_trained_again_is_never_stopped(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=3)
    for is_spared in (False, True):
        trial = books.next_trial()
        assert trial is not None
        assert RunningTrial(books, trial, {}, lambda: None)._is_spared == is_spared
        books.study.enqueue_trial({}, TrialRecord.attributes(again=0))


def test_what_went_on_at_a_rung_is_not_judged_there_again_after_a_stop(tmp_path: Path) -> None:
    """Trial 1 goes on at 12.5%, and is handed back before the next rung; others do better there meanwhile."""
    books = pausing_queue(tmp_path, n_trials=6)
    first, second, third, fourth = (books.next_trial() for _ in range(4))
    assert first and second and third and fourth
    train(books, first, lambda ordinal: 0.1)  # pauses
    train(books, second, lambda ordinal: 0.5, steps=1)
    assert TrialRecord(books.trial(1)).went_on_at == 0.125
    for trial in (third, fourth):
        train(books, trial, lambda ordinal: 0.8, steps=1)
    retry = books.next_trial()
    assert retry is not None and TrialRecord(retry).retry_of == 1
    check = RungCheck(Pausing.of(books.study, books.config) or pytest.fail(), books.study,
                      TrialRecord(retry), retry.number)  # fmt: skip
    assert not check.pauses([(1 / STEPS, 0.0625)])
    assert check.pauses([(1 / STEPS, 0.0625), (2 / STEPS, 0.1)])  # the next rung is judged


@pytest.mark.parametrize(("before", "after"), [(12.5, 25.0), (25.0, 12.5)])
def test_what_went_on_is_judged_at_the_next_rung_though_the_rungs_have_moved(
    tmp_path: Path, before: float, after: float
) -> None:
    """Trial 0 went on at a quarter, which is the second rung of some and the first of others."""
    books = pausing_queue(tmp_path, n_trials=4, pruner_options={"min_resource": before})
    first, *others = (books.next_trial() for _ in range(3))
    assert first and all(others)
    TrialRecord(first).write(TrialRecord.attributes(curve=[(0.125, 0.0), (0.25, 0.01)], went_on_at=0.25))
    books.sign_off(0, Outcome(RunState.INTERRUPTED))
    books.tell(0)
    books.config = replace(books.config, pruner_options={"min_resource": after})
    for trial in filter(None, others):
        train(books, trial, lambda ordinal: 0.8, steps=5)
    retry = books.next_trial()
    assert retry is not None and TrialRecord(retry).retry_of == 0
    check = RungCheck(Pausing.of(books.study, books.config) or pytest.fail(), books.study,
                      TrialRecord(retry), retry.number)  # fmt: skip
    curve = [((step + 1) / STEPS, 0.01 * step) for step in range(STEPS)]
    assert [curve[step][0] for step in range(STEPS) if check.pauses(curve[: step + 1])] == [0.5]


def test_what_went_on_behind_a_rung_is_not_judged_at_one_that_a_command_puts_before_it(
    tmp_path: Path,
) -> None:
    """It was evaluated at 37.5%, for the rung at 25%; now there is one at 30%."""
    books = pausing_queue(tmp_path, n_trials=4, pruner_options={"min_resource": 25})
    first, second = books.next_trial(), books.next_trial()
    assert first and second
    train(books, first, lambda ordinal: 0.0)
    pausing = Pausing.of(books.study, books.config) or pytest.fail()
    check = RungCheck(pausing, books.study, TrialRecord(second), second.number)
    assert not check.pauses([(0.375, 0.9)]) and TrialRecord(books.trial(1)).went_on_at == 0.375
    books.sign_off(1, Outcome(RunState.INTERRUPTED))
    books.tell(1)
    books.config = replace(books.config, pruner_options={"min_resource": 30})
    retry = books.next_trial()
    assert retry is not None and TrialRecord(retry).retry_of == 1
    pausing = Pausing.of(books.study, books.config) or pytest.fail()
    better = replace(pausing, rungs=replace(pausing.rungs, maximize=False))  # the first one is the better now
    check = RungCheck(better, books.study, TrialRecord(retry), retry.number)
    assert not check.pauses([(0.375, 0.9)])


def test_a_retry_and_what_goes_on_from_a_pause_say_which_study_found_their_point(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=4)
    for x in (0.25, 0.75):
        books.study.enqueue_trial({"x": x}, TrialRecord.attributes(origin="earlier#3"))
    first, second = books.next_trial(), books.next_trial()
    assert first and second
    train(books, first, falling)  # pauses
    books.sign_off(1, Outcome(RunState.INTERRUPTED))
    books.tell(1)
    continued = add_continuation(books.study, books.trials(), 0)
    assert TrialRecord(continued).continues == 0
    assert [TrialRecord(trial).origin for trial in books.trials()] == ["earlier#3"] * 4


def test_a_retry_of_what_a_person_tried_trains_though_its_twin_has_paused(tmp_path: Path) -> None:
    """Its worker died before the point was drawn; it shall not get the twin's value."""
    books = pausing_queue(tmp_path, n_trials=4)
    train_the_only_point(books)
    by_hand = Steered("try x=1.0", "me", "here", "2026-01-01T00:00:00+00:00")
    fixed = {"system_attrs": {"fixed_params": {"x": 1.0}}}
    tried = create_trial(state=TrialState.FAIL, user_attrs=TrialRecord.attributes(tried=by_hand), **fixed)
    books.study.add_trial(tried)
    books.study.enqueue_trial({"x": 1.0}, TrialRecord.attributes(retry_of=1, ordinal=1))
    retry = books.next_trial()
    assert retry is not None and TrialRecord(retry).retry_of == 1
    assert retry.params == {"x": 1.0} and TrialRecord(retry).reused_of is None


def test_the_best_point_is_found_with_less(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=16)
    run_out(books, lambda ordinal: (ordinal * 7 % 16) / 16)
    best = max(trial.value for trial in books.trials() if trial.state is TrialState.COMPLETE)
    assert best == 15 / 16
    assert sum(trial.last_step for trial in each_once(books.trials()) if trial.last_step) < 0.6 * 16 * 100


def train_the_only_point(books: TrialQueue) -> None:
    """Trains the one point of a space that has no other, until it pauses."""
    books.space = (Dimension("x", "x", CategoricalDistribution([1.0])),)
    first = books.next_trial()
    assert first is not None
    train(books, first, falling)


def test_a_known_point_is_that_of_the_trial_that_went_on(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=3)
    train_the_only_point(books)
    second = books.next_trial()
    assert second is not None and TrialRecord(second).reused_of == 0
    books.sign_off(1, Outcome(RunState.PRUNED))
    books.tell(1)
    third = books.next_trial()
    assert third is not None and TrialRecord(third).reused_of == 0
    books.sign_off(2, Outcome(RunState.PRUNED))
    books.tell(2)
    run_out(books)  # the only point that trained
    assert books.trials()[5].state is TrialState.COMPLETE
    again = pausing_queue(tmp_path, n_trials=4)
    again.space = books.space
    last = again.next_trial()
    assert last is not None and TrialRecord(last).reused_of == 5


def work(folder: Path, settings: dict[str, object], start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    run_out(pausing_queue(folder, **settings))


def check_that_many_workers_promote_no_trial_twice(folder: Path, **store: object) -> None:
    settings = {"n_trials": 12} | store
    pausing_queue(folder, **settings).close()
    start = FORK.Barrier(4)
    workers = [FORK.Process(target=work, args=(folder, settings, start)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    books = pausing_queue(folder, **settings)
    run_out(books)  # what a worker left that found nothing to take just then
    promoted = Counter(TrialRecord(trial).continues for trial in books.trials())
    del promoted[None]
    assert promoted and set(promoted.values()) == {1}
    assert count_finished(books.trials()) == 12
    assert {TrialRecord(trial).ordinal for trial in books.trials()} == set(range(12))


def test_many_workers_promote_no_trial_twice(tmp_path: Path) -> None:
    check_that_many_workers_promote_no_trial_twice(tmp_path)


def promote_and_die(folder: Path, **store: object) -> None:
    from finesweep.study import claiming

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    books = pausing_queue(folder, n_trials=2, **store)
    claiming.Claim = die  # type: ignore[assignment, misc]
    books.next_trial()


def test_a_worker_that_dies_at_a_promotion_loses_nothing(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    for _ in range(2):
        trial = books.next_trial()
        assert trial is not None
        train(books, trial, falling)
    process = FORK.Process(target=promote_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert lineage(books)[2:] == [(0, "RUNNING", 0)]
    assert books.next_trial() is None  # nobody else is promoted meanwhile, and the point counts
    assert recover(books) == [(2, "INTERRUPTED")]
    run_out(books)
    retry = books.trials()[3]
    assert (TrialRecord(retry).retry_of, TrialRecord(retry).ordinal) == (2, 0)
    assert retry.params == books.trials()[0].params
    assert retry.last_step == 25  # it is not paused again where it was promoted from
    assert count_finished(books.trials()) == 2


def test_a_promoted_trial_that_fails_for_good_leaves_the_next_one(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=3)
    for _ in range(3):
        trial = books.next_trial()
        assert trial is not None
        if TrialRecord(trial).continues is None:
            train(books, trial, falling)
    books.sign_off(2, Outcome(RunState.FAIL, error="no"))
    books.tell(2)
    run_out(books)
    best = max(trial.value for trial in books.trials() if trial.state is TrialState.COMPLETE)
    assert best == falling(1)
    assert count_finished(books.trials()) == 3  # another point was started in its place


def test_while_a_budget_is_left_the_best_paused_ones_go_on(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=4, max_train_steps=4 * STEPS)
    run_out(books)
    states = Counter(trial.state.name for trial in each_once(books.trials()))
    assert states["COMPLETE"] == 4 and not states["PRUNED"]
    (tmp_path / "less").mkdir()
    books = pausing_queue(tmp_path / "less", n_trials=4, max_train_steps=12)
    run_out(books)
    pausing = Pausing.of(books.study, books.config)
    assert str(spent(books.trials(), books.config, pausing=pausing)).startswith("max_train_steps=12")
    states = Counter(trial.state.name for trial in each_once(books.trials()))
    assert states["PRUNED"]


def test_a_budget_that_is_too_small_still_has_a_result(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=4, max_train_steps=3)
    run_out(books)
    assert [trial.state.name for trial in books.trials()].count("COMPLETE") == 1
    assert len({TrialRecord(trial).ordinal for trial in books.trials()}) == 2
    assert is_over(books)


def test_as_many_trials_are_complete_as_are_to_be_confirmed(tmp_path: Path) -> None:
    from finesweep.config.study import ConfirmConfig

    books = pausing_queue(tmp_path, n_trials=4, confirm=ConfirmConfig(top_k=3, seeds=1))
    while trial := books.next_trial():
        if TrialRecord(trial).confirms is None:
            train(books, trial, falling)
        else:
            complete(books, trial.number, 0.5)
    confirmed = [TrialRecord(trial).confirms for trial in books.trials()]
    assert len([number for number in confirmed if number is not None]) == 3


def test_so_they_are_if_stop_when_ends_the_search(tmp_path: Path) -> None:
    from finesweep.config.study import ConfirmConfig, StopWhen

    settings = {"stop_when": StopWhen.noise, "pruner_options": {"min_resource": 50}}
    books = pausing_queue(tmp_path, n_trials=60, confirm=ConfirmConfig(top_k=9, seeds=1), **settings)
    while trial := books.next_trial():
        TrialRecord(trial).noise = Noise(0.5, rows=100)
        if TrialRecord(trial).confirms is None:
            train(books, trial, lambda ordinal: 0.8 + ordinal / 1000 * (-1) ** ordinal)
        else:
            complete(books, trial.number, 0.5)
    assert str(spent(books.trials(), books.config)).startswith("stop_when=noise")
    confirmed = [TrialRecord(trial).confirms for trial in books.trials()]
    assert len([number for number in confirmed if number is not None]) == 9


def test_beyond_the_bound_the_worst_are_given_up(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=6, pruner_options={"max_paused": 1, "min_resource": 50})
    folders = [training_of(books, tmp_path) for _ in range(2)]
    give_up_surplus(books)
    assert StudyRecord(books.study).given_up == [1]
    assert [folder.exists() for folder in folders] == [True, False]
    following = books.next_trial()
    assert following is not None and TrialRecord(following).continues == 0


def training_of(books: TrialQueue, tmp_path: Path) -> Path:
    """Trains the next trial to its first rung. Returns the folder of its checkpoints."""
    trial = books.next_trial()
    assert trial is not None
    folder = tmp_path / f"trial-{trial.number}"
    (folder / "training").mkdir(parents=True)
    TrialRecord(trial).folder = str(folder)
    assert not train(books, trial, falling)
    return folder / "training"


def test_the_end_of_the_search_gives_up_all_that_wait_and_more_trials_do_not_wake_them(
    tmp_path: Path,
) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    folders = [training_of(books, tmp_path) for _ in range(2)]
    run_out(books)
    give_up_all(books)
    left = StudyRecord(books.study).given_up
    assert left == [1]
    assert [folder.exists() for folder in folders] == [True, False]  # the first one's was for who went on
    more = pausing_queue(tmp_path, n_trials=8)
    run_out(more)
    assert not {TrialRecord(trial).continues for trial in more.trials()} & set(left)
    assert count_finished(more.trials()) == 8


def test_a_search_that_was_extended_gives_nobody_up(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    StudyRecord(books.study).limits = Limits()
    folders = [training_of(books, tmp_path) for _ in range(2)]
    run_out(books)
    assert is_over(books)
    StudyRecord(books.study).n_trials = 4  # during the finish step
    give_up_all(books)
    assert StudyRecord(books.study).given_up is None and all(folder.exists() for folder in folders)
    run_out(books)
    assert 1 in {TrialRecord(trial).continues for trial in books.trials()}
    give_up_all(books)
    assert StudyRecord(books.study).given_up


def test_a_trial_that_a_person_stopped_at_its_rung_does_not_go_on(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    trial = books.next_trial()
    assert trial is not None
    TrialRecord(trial).curve = [(0.125, 0.5)]
    books.sign_off(0, Outcome(RunState.PAUSED))
    stop_trial(open_for_steering("s", books.config.storage), 0)
    books.tell(0)
    run_out(books)
    assert not TrialRecord(books.trials()[0]).is_paused
    assert 0 not in {TrialRecord(one).continues for one in books.trials()}
    assert waiting(books.trials()[:1], ()) == []


def test_a_stopped_trial_leaves_no_checkpoints_of_the_tries_before_it(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    paused = training_of(books, tmp_path)
    books.config.n_trials = 1
    went_on = books.next_trial()
    assert went_on is not None and TrialRecord(went_on).continues == 0
    books.sign_off(1, Outcome(RunState.INTERRUPTED))  # before it had adopted the checkpoint
    books.tell(1)
    give_up_all(books)
    assert paused.exists()
    stop_trial(open_for_steering("s", books.config.storage), 2)  # the retry, which waits
    give_up_all(books)
    assert not paused.exists()


def test_trials_outside_of_an_edited_space_are_not_among_the_paused_ones(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=3)
    for _ in range(2):
        training_of(books, tmp_path)
    reader = studies.load("s", books.config.storage)
    assert take_snapshot(reader).paused == 2
    StudyRecord(books.study).outside = [1]
    snapshot = take_snapshot(reader)  # of a process that looked before
    assert (snapshot.finished, snapshot.paused) == (0, 1)
    assert describe(reader).finished == study_rows([reader])[0][0].finished == 0


def test_the_time_left_goes_by_whole_trials(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    run_out(books)
    trials = books.trials()
    assert [TrialRecord(trial).continues for trial in trials] == [None, None, 0, 2, 3]
    for trial in trials:
        trial.user_attrs |= {"started": 0.0, "beat": 10.0}
    assert eta._durations(replace(take_snapshot(books.study), trials=trials)) == [10, 40]


def test_a_trial_that_leads_is_trained_to_its_end_beside_the_baseline(tmp_path: Path) -> None:
    """The baseline never pauses, so the best of the others is the only one at the last rung."""
    options = {"min_resource": 12.5, "reduction_factor": 4}
    books = pausing_queue(tmp_path, n_trials=3, pruner_options=options, first=[{"x": 0.5, "y": 0.5}])
    StudyRecord(books.study).write_all(history=[{"sampler": "random", "pruner": "pause"}])
    while trial := books.next_trial():
        if is_baseline(books.study, trial.number):
            complete(books, trial.number, 0.1)
        else:
            train(books, trial, lambda ordinal: 0.9 - ordinal / 10)
    results = [trial for trial in books.trials() if trial.state is TrialState.COMPLETE]
    assert [TrialRecord(trial).ordinal for trial in results] == [0, 1] and results[1].value == 0.8
    assert is_over(books)


def test_a_promotion_is_its_own_trial_though_another_is_queued_at_that_moment(tmp_path: Path) -> None:
    """A worker that hands a trial back holds that trial alone, not the study."""
    books = pausing_queue(tmp_path, n_trials=2)
    for _ in range(2):
        trial = books.next_trial()
        assert trial is not None
        train(books, trial, falling)
    before = books.trials()
    books.study.enqueue_trial({}, TrialRecord.attributes(retry_of=1))
    made = add_continuation(books.study, before, 0)
    assert (made.number, TrialRecord(made).continues) == (3, 0)


def test_a_retry_goes_on_though_a_twin_of_it_has_paused(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=4)
    first = books.next_trial()
    assert first is not None
    train(books, first, falling)
    person = open_for_steering("s", books.config.storage)
    StudyRecord(books.study).space = books.space
    try_point(person, dict(first.params))
    tried = books.next_trial()
    assert tried is not None and TrialRecord(tried).reused_of is None
    train(books, tried, falling, steps=0)
    retry = books.next_trial()
    assert retry is not None and (TrialRecord(retry).retry_of, TrialRecord(retry).reused_of) == (1, None)


def test_a_retry_of_what_had_not_trained_gets_the_value_that_is_known(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=4)
    train_the_only_point(books)
    reused = books.next_trial()
    assert reused is not None and TrialRecord(reused).reused_of == 0
    books.sign_off(1, Outcome(RunState.INTERRUPTED))  # its run could not be opened
    books.tell(1)
    retry = books.next_trial()
    assert retry is not None and (TrialRecord(retry).retry_of, TrialRecord(retry).reused_of) == (1, 0)


def test_trials_that_paused_before_the_first_rung_of_today_go_on(tmp_path: Path) -> None:
    early = pausing_queue(tmp_path, n_trials=2)
    for _ in range(2):
        trial = early.next_trial()
        assert trial is not None
        train(early, trial, falling)
    later = pausing_queue(tmp_path, n_trials=2, pruner_options={"min_resource": 50})
    run_out(later)
    assert [t.state.name for t in later.trials()].count("COMPLETE") == 1 and is_over(later)


def test_an_outcome_that_could_not_be_written_is_a_pause_all_the_same(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=1)
    trial = books.next_trial()
    assert trial is not None
    end_trial(books.study, books.trial(trial.number), Outcome(RunState.PAUSED), max_retries=1)
    assert TrialRecord(books.trial(trial.number)).is_paused


def test_trials_outside_of_an_edited_space_decide_no_pause(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=3)
    for _ in range(2):
        training_of(books, tmp_path)
    StudyRecord(books.study).outside = [0]
    pausing = Pausing.of(books.study, books.config)
    assert pausing is not None and [one.number for one in pausing.points(books.trials())] == [1]


def test_a_sampler_sees_a_point_that_went_on_once(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=2)
    run_out(books)
    trials = books.trials()
    claim = Claim(trials[1], seen=trials)
    seen = _as_sampler_sees(books, claim)
    assert [trial.state.name for trial in seen] == ["FAIL", "PRUNED", "FAIL", "FAIL", "COMPLETE"]


@pytest.mark.parametrize("sampler", ["cmaes", "gp"])
def test_samplers_that_learn_from_complete_trials_alone_refuse_to_pause(tmp_path: Path, sampler: str) -> None:
    books = pausing_queue(tmp_path, sampler=sampler)
    with pytest.raises(ConfigError, match=f"got '{sampler}'; legal: tpe, random, grid, qmc with.*pause"):
        try_out(books.config, books.space)


def test_trials_of_a_study_that_no_longer_pauses_stay_paused(tmp_path: Path) -> None:
    books = pausing_queue(tmp_path, n_trials=1)
    trial = books.next_trial()
    assert trial is not None
    train(books, trial, falling)
    plain = queue(tmp_path, n_trials=2, sampler="random")
    trial = plain.next_trial()
    assert trial is not None and TrialRecord(trial).continues is None
    complete(plain, trial.number, 1.0)
    assert plain.next_trial() is None and is_over(plain)


def test_options_that_pausing_does_not_take_are_named(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"eta": 2}, "no option 'eta'; there: min_resource, reduction_factor, max_paused"),
        ({"maximize": True}, "no option 'maximize'"),
        ({"max_paused": 0}, "max_paused is 0"),
        ({"max_paused": float("inf")}, "max_paused is inf"),
        ({"min_resource": "abc"}, "min_resource is 'abc', not a number"),
        ({"min_resource": True}, "min_resource is True, not a number"),
        ({"reduction_factor": 1.001}, "reduction_factor is 1.001, not 1.1 to 100"),
        ({"reduction_factor": float("inf")}, "reduction_factor is inf"),
    ]
    for options, said in cases:
        books = pausing_queue(tmp_path)
        books.config.pruner_options = options
        with pytest.raises(ConfigError, match=f"pruner_options.*{said}.*legal: the keyword arguments.*pause"):
            try_out(books.config, books.space)
