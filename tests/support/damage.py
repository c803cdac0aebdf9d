"""Damaged files for property tests: any bytes, any JSON, and good JSON with one thing wrong."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP = "[" * 5000 + "]" * 5000
# Deep enough to break what recurses, but not Python's parser of JSON.
QUITE_DEEP = "[" * 700 + "]" * 700
ODD_TEXTS = ("", "[]", "{}", "null", '""', "0", "[null]", '{"files": null}', '{"files": {}}', '{"files": []}',
             '{"files": {"a": null}}', DEEP, f'{{"files": {DEEP}}}', QUITE_DEEP, f'{{"files": {QUITE_DEEP}}}',
             "9" * 5000, f'{{"schema_version": {"9" * 5000}}}', '"\\ud83d"', "NaN", "1e999")  # fmt: skip

leaves = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text() | st.just("\ud83d")
)
json_values = st.recursive(
    leaves, lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside), max_leaves=8
)
files: st.SearchStrategy[bytes] = (
    st.binary()
    | st.sampled_from(ODD_TEXTS).map(str.encode)
    | json_values.map(json.dumps).map(str.encode)
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
)


@st.composite
def one_thing_wrong(draw: st.DrawFn, good: Any) -> bytes:
    """A JSON document like `good`, of which one value is another one, or missing, or cut off."""
    document = copy.deepcopy(good)
    node, path = document, draw(st.sampled_from(list(_paths(good))))
    for key in path[:-1]:
        node = node[key]
    if draw(st.booleans()):
        node[path[-1]] = draw(json_values)
    else:
        del node[path[-1]]
    text = json.dumps(document).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _paths(value, (*path, key))


@st.composite
def flipped(draw: st.DrawFn, good: bytes) -> bytes:
    """The bytes, cut off or with one byte changed."""
    at = draw(st.integers(0, len(good) - 1))
    return good[:at] if draw(st.booleans()) else good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :]
