"""From a text in Hydra's sweep grammar to Optuna's distribution."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from finesweep.errors import ConfigError
from finesweep.study.grammar import distribution, ends
from finesweep.study.space import Dimension, check_point, grid


def parsed(text: str, key_type: Any = Any) -> BaseDistribution:
    (override,) = OverridesParser.create().parse_overrides([text])
    return distribution(override, key_type)


@pytest.mark.parametrize(
    ("text", "key_type", "expected"),
    [
        ("a=interval(1e-5,1e-3)", float, Float(1e-5, 1e-3)),
        ("a=tag(log,interval(1e-5,1e-3))", float, Float(1e-5, 1e-3, log=True)),
        ("a=interval(0,1)", float, Float(0, 1)),
        ("a=interval(1,64)", int, Int(1, 64)),
        ("a=range(1,6)", float, Int(1, 5)),
        ("a=range(8,65,8)", int, Int(8, 64, step=8)),
        ("a=range(0.0,0.3,0.1)", float, Float(0.0, 0.2, step=0.1)),
        ("a=tag(log,range(1,65))", int, Int(1, 64, log=True)),
        ("a=choice(8,16,32)", int, Choice([8, 16, 32])),
        ("a=8,16", int, Choice([8, 16])),
        ("a=choice(linear,cosine)", str, Choice(["linear", "cosine"])),
        ("a=null,0.1", float, Choice([None, 0.1])),
        ("a=choice([question,sentence],[sentence])", list, Choice(["[question,sentence]", "[sentence]"])),
        ("a=choice(8,8,16)", int, Choice([8, 16])),
        ("a=int(interval(1,5))", float, Int(1, 5)),
        ("a=int(tag(log,interval(1,5)))", Any, Int(1, 5, log=True)),
        ("a=float(range(1,4))", int, Int(1, 3)),
        ("a=float(range(1,4))", float, Float(1, 3, step=1)),
        ("a=range(5,1,-2)", int, Int(3, 5, step=2)),
        ("a=range(0,1,0.3)", float, Float(0, 0.9, step=0.3)),
        ("a=range(0,0.9,0.3)", float, Float(0, 0.6, step=0.3)),
        ("a=range(1,0,-0.1)", float, Float(0.1, 1, step=0.1)),
        ("a=range(0,1,1e-12)", float, Float(0, 0.999999999999, step=1e-12)),
        ("a=range(0,10000000000)", int, Int(0, 9999999999)),
        ("a=choice('1e5','null','true','1_000')", str, Choice(["1e5", "null", "true", "1_000"])),
        ("a=null,'null'", str, Choice([None, "null"])),
        ("a='[a]',[a]", Any, Choice(["'[a]'", "[a]"])),
        ("a={b:1},{b:2,c:'x y'}", Any, Choice(["{b:1}", "{b:2,c:'x y'}"])),
        ("a=shuffle(choice(1,2,3,4,5,6,7,8,9))", int, Choice([1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("a=shuffle(range(1,6))", int, Int(1, 5)),
        ("a=sort(3,1,2)", int, Choice([1, 2, 3])),
    ],
)
def test_grammar_to_distribution(text: str, key_type: Any, expected: object) -> None:
    assert parsed(text, key_type) == expected


@pytest.mark.parametrize(
    ("text", "key_type", "message"),
    [
        ("a=interval(1e-3,1e-5)", float, r"a: got 'interval\(0.001, 1e-05\)'; legal: .*with low < high"),
        ("a=interval(1,1)", float, "low < high"),
        ("a=interval(nan,1)", float, "low < high"),
        ("a=interval(0,inf)", float, "low < high"),
        ("a=interval(1.5,4.5)", int, "legal: an interval between whole numbers"),
        ("a=interval(0,1)", bool, "legal: choice"),
        ("a=interval(0,1)", str, "legal: choice"),
        ("a=tag(log,interval(0,1))", float, "an interval above 0"),
        ("a=tag(lgo,interval(1,2))", float, r"legal: tag\(log, ...\)"),
        ("a=range(5,1)", int, "holds a value"),
        ("a=range(1,5,0)", int, "holds a value"),
        ("a=range(1.0,5,0)", float, "holds a value"),
        ("a=range(nan,5)", float, "holds a value"),
        ("a=range(1,5,0.5)", int, "a range of whole numbers"),
        ("a=1,true", str, "one value to Optuna"),
        ("~a=1,2", int, "a deletion cannot be swept"),
        ("data=choice(rte,mrpc)", str, "data: cannot be swept"),
        ("data.path=choice(a,b)", str, "data.path: cannot be swept"),
        ("tracking.uri=choice(a,b)", str, "tracking.uri: cannot be swept"),
    ],
)
def test_what_cannot_be_searched_is_refused(text: str, key_type: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parsed(text, key_type)


def test_what_is_checked_beforehand_are_the_ends_of_each_dimension() -> None:
    assert ends(parsed("a=interval(1e-5,1e-3)")) == [1e-5, 1e-3]
    assert ends(parsed("a=range(1,6)")) == [1, 5]
    assert ends(parsed("a=choice(8,16)")) == [8, 16]


def test_a_grid_is_every_point_once() -> None:
    texts = {"a": "a=choice(x,y)", "b": "b=range(1,4)", "c": "c=range(0.0,0.3,0.1)"}
    points = grid(tuple(Dimension(key, key, parsed(text)) for key, text in texts.items()))
    assert len(points) == 2 * 3 * 3
    assert len({tuple(point.values()) for point in points}) == 18
    with pytest.raises(ConfigError, match="a: an interval has no grid"):
        grid((Dimension("a", "a", parsed("a=interval(0,1)")),))


@pytest.mark.parametrize("text", ["a=range(0,10000000000)", "a=range(0,1,1e-12)", "a=range(0,1000)"])
def test_a_grid_that_nobody_could_train_is_refused_at_once(text: str) -> None:
    space = (Dimension("a", "a", parsed(text)), Dimension("b", "b", parsed("b=range(0,1000)")))
    with pytest.raises(ConfigError, match="more than 100,000 points"):
        grid(space)


@pytest.mark.parametrize(
    ("point", "message"),
    [({"b": 1}, "b is not swept; legal: a"), ({"a": 2.0}, "enqueue: a: got 2.0"), ({"a": "x"}, "got 'x'")],
)
def test_a_known_good_point_must_lie_in_the_space(point: dict[str, object], message: str) -> None:
    space = (Dimension("a", "a", Float(0, 1)),)
    check_point({"a": 0.5}, space)
    with pytest.raises(ConfigError, match=message):
        check_point(point, space)


@pytest.mark.parametrize(
    ("dimension", "value", "own"),
    [(Choice((8, 16)), 8.0, 8), (Choice((0.5, 1.0)), 1, 1.0), (Choice((None, "a")), None, None),
     (Choice((True, False)), False, False), (Int(1, 10, log=True), 2.0, 2), (Float(0, 2), 1, 1.0)],
)  # fmt: skip
def test_a_persons_value_becomes_the_spaces_own(dimension: Any, value: Any, own: Any) -> None:
    """Else a trial would compose `batch_size=8.0`, which its config refuses."""
    (found,) = check_point({"a": value}, (Dimension("a", "a", dimension),)).values()
    assert (found, type(found)) == (own, type(own))


@pytest.mark.parametrize(
    ("dimension", "value", "legal"),
    [
        (Choice((0, 1)), True, "0, 1"),
        (Choice((True, None)), 1, "true, null"),
        (Choice(("1", "2")), 1, "'1', '2'"),
    ],
)
def test_what_is_legal_is_written_as_it_is_typed(dimension: Any, value: Any, legal: str) -> None:
    with pytest.raises(ConfigError, match=f"legal: {legal}$"):
        check_point({"a": value}, (Dimension("a", "a", dimension),))
