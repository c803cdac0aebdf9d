"""Which trainings pause at a rung, and which paused ones go on."""

import random

import pytest

from finesweep.study.rungs import Point, Rungs

UP = Rungs(maximize=True, min_resource=12.5)  # rungs at 12.5, 25 and 50 per cent


def at(number: int, *losses: float, waits: bool = True) -> Point:
    """A point that was judged at the first rungs; less is better."""
    return Point(number, dict(enumerate(losses)), waits)


def numbers(points: list[Point]) -> list[int]:
    return [point.number for point in points]


def test_rungs_are_shares_below_the_end() -> None:
    assert Rungs(maximize=True).shares == [0.25, 0.5] and Rungs(maximize=True).max_paused == 16
    assert UP.shares == [0.125, 0.25, 0.5]
    assert Rungs(maximize=True, min_resource=10, reduction_factor=3).shares == pytest.approx([0.1, 0.3, 0.9])
    assert Rungs(maximize=True, min_resource=25, reduction_factor=4).shares == [0.25]


def test_a_training_is_judged_by_its_best_value_at_the_share_of_the_rung() -> None:
    falling = [(0.1, 0.9), (0.15, 0.7), (0.3, 0.5), (0.5, 0.95), (1.0, 1.0)]
    assert UP.judged(falling) == pytest.approx({0: -0.9, 1: -0.9, 2: -0.95})
    rising = [(0.1, 0.5), (0.2, 0.7), (0.3, 0.8)]
    assert UP.judged(rising) == pytest.approx({0: -0.55, 1: -0.75})
    assert Rungs(maximize=False, min_resource=12.5).judged(rising) == pytest.approx({0: 0.5, 1: 0.5})


def test_a_training_with_few_evaluations_is_judged_where_it_is_known() -> None:
    assert UP.judged([(1 / 3, 0.5), (2 / 3, 0.8)]) == pytest.approx({1: -0.5, 2: -0.65})
    assert UP.judged([(0.5, 0.4)]) == {2: -0.4}
    assert UP.judged([(1.0, 0.9)]) == {}  # it says nothing about the shares before
    assert UP.judged([]) == {}


def test_an_evaluation_just_before_a_rung_is_at_it() -> None:
    """Of 25 steps, a quarter is evaluated after 6."""
    assert UP.judged([(6 / 25, 0.5), (12 / 25, 0.6)]) == {1: -0.5, 2: -0.6}


def test_the_first_rungs_may_lie_at_the_very_beginning() -> None:
    early = Rungs(maximize=True, min_resource=1, reduction_factor=3)
    curve = [(share / 100, share / 100) for share in range(1, 8)]
    assert early.judged(curve) == pytest.approx({0: -0.01, 1: -0.03, 2: -0.07})


def test_the_first_one_at_a_rung_pauses_and_a_better_second_one_goes_on() -> None:
    first = at(0, 0.5)
    assert not UP.goes_on(first, [first])
    better, worse = at(1, 0.4), at(2, 0.6)
    assert UP.goes_on(better, [first, better])
    assert not UP.goes_on(worse, [first, worse])
    assert UP.goes_on(at(3), [first, at(3)])  # no rung yet


def test_equals_of_the_last_one_that_goes_on_go_on_too() -> None:
    points = [at(number, 0.5) for number in range(4)]
    assert not UP.goes_on(points[0], points[:1])
    assert all(UP.goes_on(point, points) for point in points)
    assert numbers([UP.to_promote(points) or at(-1)]) == [0]
    worse, better = at(4, 0.6), [at(number, 0.4) for number in range(5, 8)]
    assert not UP.goes_on(worse, [*points, worse])
    assert UP.goes_on(points[0], [*points, *better[:2]])
    assert not UP.goes_on(points[0], [*points[:2], *better])


def test_a_paused_one_is_promoted_once_others_turn_out_worse() -> None:
    points = [at(0, 0.5)]
    assert UP.to_promote(points) is None
    points.append(at(1, 0.7))
    assert UP.to_promote(points) == points[0]
    points[0] = at(0, 0.5, waits=False)  # it trains again
    assert UP.to_promote(points) is None
    points += [at(2, 0.8), at(3, 0.9)]
    assert UP.to_promote(points) == points[1]


def test_the_last_rung_comes_first_and_its_best() -> None:
    early = [at(number, 0.1 * number) for number in range(6)]
    late = [at(10, 0.3, 0.3), at(11, 0.2, 0.2), at(12, 0.9, 0.9), at(13, 0.9, 0.95)]
    assert UP.to_promote([*early, *late]) == late[1]
    assert UP.to_promote([*early, *late[:1]]) == early[0]


def test_a_point_that_went_on_counts_at_the_rungs_behind_it() -> None:
    """Or a rung that the best have left would promote the worst."""
    gone_on = [at(0, 0.1, 0.1, waits=False), at(1, 0.2, 0.2, waits=False)]
    assert UP.to_promote([*gone_on, at(2, 0.8), at(3, 0.9)]) is None


def test_anyway_the_best_of_the_last_rung_goes_on() -> None:
    points = [at(0, 0.1), at(1, 0.5, 0.4), at(2, 0.9, waits=False)]
    assert UP.to_promote(points[1:]) is None
    assert UP.to_promote(points[1:], anyway=True) == points[1]
    assert UP.furthest(points) == points[1]
    assert UP.to_promote([points[2]], anyway=True) is None


@pytest.mark.parametrize("whole", [1, 1.0])
def test_the_bound_of_those_that_wait_may_be_written_as_a_float(whole: int) -> None:
    assert numbers(Rungs(maximize=True, max_paused=whole).surplus([at(0, 0.5), at(1, 0.6)])) == [1]


def test_the_worst_of_the_first_rungs_are_too_many() -> None:
    few = Rungs(maximize=True, max_paused=2)
    points = [at(0, 0.9), at(1, 0.1), at(2, 0.9, 0.9), at(3, 0.5), at(4, 0.0, waits=False), at(5, 0.9)]
    assert numbers(few.surplus(points)) == [5, 0, 3]
    assert few.surplus(points[1:3]) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_resource": 0}, "min_resource is 0"),
        ({"min_resource": 0.25}, "min_resource is 0.25, not 1 to below 100 per cent"),
        ({"min_resource": 100}, "min_resource is 100"),
        ({"reduction_factor": 1}, "reduction_factor is 1"),
        ({"max_paused": 0}, "max_paused is 0"),
        ({"max_paused": 1.5}, "max_paused is 1.5"),
    ],
)
def test_options_out_of_their_range_are_named(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rungs(maximize=True, **options)  # type: ignore[arg-type]


def arrival(seed: int, workers: int) -> tuple[float, float, int]:
    """Trains 40 points asynchronously. Returns regret, the share of all steps, and how many are complete."""
    rng, evaluations, points = random.Random(seed), 20, 40
    final = [rng.random() for _ in range(points)]
    curves = [[((step + 1) / evaluations, best * (1 - 0.8 ** (step + 1))) for step in range(evaluations)]
              for best in final]  # fmt: skip
    done, running, paused, judged = [0] * points, list[int](), set[int](), dict[int, int | None]()

    def study() -> list[Point]:
        return [Point(n, UP.judged(curves[n][: done[n]]), n in paused) for n in range(points) if done[n]]

    begun, complete = 0, list[int]()
    while True:
        while len(running) < workers:
            promoted = UP.to_promote(study(), anyway=begun == points and not running and not complete)
            if promoted is None and begun == points:
                break
            running.append(promoted.number if promoted else begun)
            begun += promoted is None
            paused.discard(running[-1])
        if not running:
            return (
                max(final) - max(final[n] for n in complete),
                sum(done) / points / evaluations,
                len(complete),
            )
        number = running.pop(rng.randrange(len(running)))  # whoever has evaluated next
        done[number] += 1
        if done[number] == evaluations:
            complete.append(number)
            continue
        mine = Point(number, UP.judged(curves[number][: done[number]]))
        if mine.rung is not None and mine.rung != judged.get(number):
            judged[number] = mine.rung
            if not UP.goes_on(mine, [mine, *(point for point in study() if point.number != number)]):
                paused.add(number)
                continue
        running.append(number)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_best_of_forty_is_found_for_half_of_the_steps_in_whichever_order_they_arrive(
    workers: int,
) -> None:
    for seed in range(5):
        regret, share, complete = arrival(seed, workers)
        assert regret == 0.0
        assert share < 0.55 and complete >= 1
