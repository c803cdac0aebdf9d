"""From a text in Hydra's sweep grammar to Optuna's distribution, and back to an override."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from finesweep.errors import ConfigError
from finesweep.study.grammar import as_overrides, distribution, ends
from finesweep.study.space import Dimension, check_point, grid


def parsed(text: str, whole: bool = False):  # type: ignore[no-untyped-def]
    (override,) = OverridesParser.create().parse_overrides([text])
    return distribution(override, whole)


@pytest.mark.parametrize(
    ("text", "whole", "expected"),
    [
        ("a=interval(1e-5,1e-3)", False, Float(1e-5, 1e-3)),
        ("a=tag(log,interval(1e-5,1e-3))", False, Float(1e-5, 1e-3, log=True)),
        ("a=interval(0,1)", False, Float(0, 1)),
        ("a=interval(1,64)", True, Int(1, 64)),
        ("a=range(1,6)", False, Int(1, 5)),
        ("a=range(8,65,8)", True, Int(8, 64, step=8)),
        ("a=range(0.0,0.3,0.1)", False, Float(0.0, 0.2, step=0.1)),
        ("a=tag(log,range(1,65))", True, Int(1, 64, log=True)),
        ("a=choice(8,16,32)", True, Choice([8, 16, 32])),
        ("a=8,16", True, Choice([8, 16])),
        ("a=choice(linear,cosine)", False, Choice(["linear", "cosine"])),
        ("a=null,0.1", False, Choice([None, 0.1])),
        ("a=choice([question,sentence],[sentence])", False, Choice(["[question,sentence]", "[sentence]"])),
        ("a=choice(8,8,16)", True, Choice([8, 16])),
    ],
)
def test_grammar_to_distribution(text: str, whole: bool, expected: object) -> None:
    assert parsed(text, whole) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a=interval(1e-3,1e-5)",
            r"a: got 'interval\(0.001, 1e-05\)'; legal: interval\(low, high\) with low < high",
        ),
        ("a=interval(1,1)", "low < high"),
        ("a=tag(log,interval(0,1))", "an interval above 0"),
        ("a=tag(lgo,interval(1,2))", r"legal: tag\(log, ...\)"),
        ("a=range(5,1)", "holds a value"),
        ("data=choice(rte,mrpc)", "data: cannot be swept"),
        ("data.path=choice(a,b)", "data.path: cannot be swept"),
        ("tracking.uri=choice(a,b)", "tracking.uri: cannot be swept"),
    ],
)
def test_what_cannot_be_searched_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parsed(text)


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
    "value", [0.1 + 0.2, 1e-05, 3.64106936195771e-05, 16, True, None, "linear", "a b", "it's", "[a,b]", "x/y"]
)
def test_a_point_becomes_an_override_that_parses_back_to_the_same(value: object) -> None:
    (text,) = as_overrides({"a": value})
    (override,) = OverridesParser.create().parse_overrides([text])
    expected = ["a", "b"] if value == "[a,b]" else value
    assert override.value() == expected
