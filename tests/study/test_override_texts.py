"""Any value arrives in a trial's config as it was given: `compose(encode(value)) == value`."""

import copy
import math
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from finesweep.errors import ConfigError
from finesweep.study.encode import encode, encode_stored, stored

PARSER = OverridesParser.create()
BASE = OmegaConf.create({"key": None})
OmegaConf.set_struct(BASE, True)
# What Hydra's or YAML's grammar, or OmegaConf, could take for something else.
WORDS = [
    *("null", "NULL", "true", "False", "1e5", "1_000", "007", "-1", ".5", "inf", "-Inf", "nan", "a,b", "[a]"),
    *(
        "{a:1}",
        "{}",
        "[",
        "~",
        "a=b",
        "a:b",
        "(x)",
        "choice(1,2)",
        "glob(*)",
        "é",
        "中",
        "#",
        "!x",
        "&x",
        "*x",
    ),
    *("%x", "@x", "x/y", "it's", "'", '"', "\\", "\\'", "'\\\\", "\\\\", " a ", "", "a\nb", "\t"),
]
TEXTS = st.one_of(
    st.sampled_from(WORDS),
    st.text(),
    st.text(alphabet="aE01_-+.\\'\"[]{}(),:= \t\n/"),
    st.lists(st.sampled_from(WORDS)).map("".join),
).filter(lambda text: "${" not in text and text != "???")  # OmegaConf's own: see below
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
KEYS = st.from_regex(r"[a-z][a-zA-Z0-9_.]{0,8}", fullmatch=True).filter(
    lambda key: key not in ("null", "true", "false", "inf", "nan")
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4))
)


def compose(text: str) -> Any:
    """Applies an override to a config of one key, as Hydra does."""
    config = copy.deepcopy(BASE)
    ConfigLoaderImpl._apply_overrides_to_config(PARSER.parse_overrides([f"key={text}"]), config)
    return OmegaConf.to_container(config, resolve=True)["key"]  # type: ignore[call-overload,index]


def same(one: Any, other: Any) -> bool:
    """Compares values with their types: 1, 1.0 and True are three."""
    return repr(one) == repr(other)


@given(VALUES)
def test_what_is_composed_is_what_was_encoded(value: Any) -> None:
    assert same(compose(encode(value)), value)


@given(VALUES)
def test_what_optuna_stores_is_composed_to_the_same_and_differs_for_other_values(value: Any) -> None:
    kept = stored(value)
    assert kept is None or isinstance(kept, (bool, int, float, str))
    assert same(compose(encode_stored(kept)), value)


@pytest.mark.parametrize("value", WORDS)
def test_a_string_stays_a_string(value: str) -> None:
    assert same(compose(encode(value)), value)
    assert same(compose(encode([value, {"a": value}])), [value, {"a": value}])


def test_a_plain_word_is_written_without_quotes() -> None:
    words = ["adamw", "google/bert_uncased", "a.b-c"]
    assert [encode(word) for word in words] == words
    assert encode(math.pi) == repr(math.pi)


def test_an_interpolation_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "a,b")
    assert compose(encode("${oc.env:NAME}/x")) == compose("'${oc.env:NAME}/x'") == "a,b/x"


@pytest.mark.parametrize("key", ["\u00e9", "a b", "", "1e5"])
def test_a_key_that_the_grammar_cannot_express_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="legal: letters"):
        encode({key: 1})
