"""Our reading of Hydra's sweep grammar beside that of Hydra's own sweeper and of its Optuna plugin.

ARCHITECTURE.md (study) gives the reasons of what differs.
"""

from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from finesweep.errors import ConfigError
from finesweep.study.grammar import distribution
from finesweep.study.space import Dimension, grid

PARSER = OverridesParser.create()


def of_hydra(text: str) -> list[str]:
    """Lists the values that Hydra's own sweeper gives to its jobs, with their types."""
    batches = BasicSweeper.split_arguments(PARSER.parse_overrides([text]), max_batch_size=None)
    return [_value(override) for batch in batches for (override,) in batch]


def ours(text: str) -> list[str]:
    """Lists the values of a grid's trials, as they would compose them."""
    (override,) = PARSER.parse_overrides([text])
    dimension = Dimension("k", "k", distribution(override))
    return [_value(dimension.override(point["k"])) for point in grid((dimension,))]


def _value(text: str) -> str:
    return repr(PARSER.parse_overrides([text])[0].value())


@pytest.mark.parametrize(
    "text",
    [
        "k=10", "k=10,20", "k=[10,20]", "k=[a,b,c],[d,e,f]", "k=range(0,3)", "k=range(3)",
        "k=range(-1,3,1)", "k=range(-1,2,0.5)", "k=range(0.5,5.5,step=1)", "k=range(0,3,1.0)",
        "k=choice(a)", "k=choice(true,false)", "k=choice('hello','world')", "k=choice(-1,0,1)",
        "k=choice(10,20.5,a)", "k=choice({a:10},{b:{c:[1,2]}})", "k=choice([-1,0,1],[2,3,4])",
        "k=10,[1,2],{a:b}", "k=a-b,c.d,e/f", "k=' a',b ", "k=inf,-inf", "k=a\\,b,c", "k=\"a,b\",c",
        "k=sort(3,2,1)", "k=sort(3,2,1,reverse=true)", "k=sort(c,a,b)", "k=sort(range(1,5))",
        "k=int(choice(1.5,2.5))", "k=float(choice(1,2))", "k=bool(choice(0,1))", "k=int(range(1,4))",
        "k=tag(t,choice(a,b))", "+k=1,2", "++k=1,2",
    ],
)  # fmt: skip
def test_a_trial_gets_the_values_of_hydras_own_sweeper(text: str) -> None:
    given = of_hydra(text)
    assert given
    assert ours(text) == given


@pytest.mark.parametrize(
    ("text", "hydra", "finesweep"),
    [
        ("k=choice('1','2')", ["1", "2"], ["'1'", "'2'"]),  # what is quoted stays a string
        ("k=choice(str(10))", ["10"], ["'10'"]),
        ("k=a,a,b", ["a", "a", "b"], ["a", "b"]),  # a choice lists each value once
        ("k=range(3,0,-1)", ["3", "2", "1"], ["1", "2", "3"]),  # a range has no order but its own
        ("k=sort(range(1,4),reverse=true)", ["3", "2", "1"], ["1", "2", "3"]),
        (
            "k=range(0,0.9,0.3)",
            ["0.0", "0.3", "0.6", "0.8999999999999999"],
            ["0.0", "0.3", "0.6"],
        ),  # the stop is left out
    ],
)
def test_where_the_values_differ_on_purpose(text: str, hydra: list[str], finesweep: list[str]) -> None:
    assert of_hydra(text) == [_value(f"k={value}") for value in hydra]
    assert ours(text) == [_value(f"k={value}") for value in finesweep]


@pytest.mark.parametrize("text", ["k=range(-10)", "k=1,1.0,true", "k=tag(t,range(1,3))"])
def test_what_hydras_sweeper_takes_and_no_study_can_search_is_refused(text: str) -> None:
    of_hydra(text)
    with pytest.raises(ConfigError, match="legal: "):
        ours(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # As the Optuna plugin reads them.
        ("k=choice(1,2)", Choice([1, 2])),
        ("k=choice(true, false)", Choice([True, False])),
        ("k=interval(1, 5)", Float(1, 5)),
        ("k=int(interval(1, 5))", Int(1, 5)),
        ("k=tag(log, interval(1, 5))", Float(1, 5, log=True)),
        ("k=tag(log, int(interval(1, 5)))", Int(1, 5, log=True)),
        # The plugin includes the end of a range; Python and Hydra's own sweeper leave it out, and so do we.
        ("k=range(1,3)", Int(1, 2)),
        ("k=range(0.5, 5.5, step=1)", Float(0.5, 4.5, step=1)),
        # The plugin makes a choice of a shuffled range; the sampler does better with numbers in their order.
        ("k=shuffle(range(1,3))", Int(1, 2)),
        # Ax makes a choice of each range.
        ("k=range(-1,2)", Int(-1, 1)),
        ("k=range(-1,2,0.5)", Float(-1, 1.5, step=0.5)),
        ("k=interval(-5, 10.1)", Float(-5, 10.1)),
        ("+k=choice({x:-1, y:0},{x:2, y:3})", Choice(["{x:-1,y:0}", "{x:2,y:3}"])),
    ],
)
def test_distributions_beside_those_of_the_optuna_and_ax_plugins(text: str, expected: Any) -> None:
    (override,) = PARSER.parse_overrides([text])
    assert distribution(override) == expected
