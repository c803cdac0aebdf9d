"""Finds the entities (spans) in tagged words, and scores predicted ones.

scikit-learn has no score for spans, and seqeval, the usual library, is no longer maintained. So entities are
read here, by the rules of CoNLL's own script: `B-`, `S-` and `U-` begin an entity, and so does a tag whose
type differs from that of the tag before; `E-`, `L-`, `S-` and `U-` end it. This reads IOB1, IOB2, IOBES and
BILOU.
Source: https://www.clips.uantwerpen.be/conll2000/chunking/conlleval.txt
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from finesweep.tasks.metrics import Counted, Judged, Metric

TAG = re.compile(r"O|([BIESLUM])-(.+)")
BEGINS, ENDS = "BSU", "ELSU"

Span = tuple[int, str, int, int]  # row, type, index of the first word, index after the last word


def is_span_tag(tag: str) -> bool:
    """Tells whether a tag marks entities: `O`, or a prefix such as `B-` and a type."""
    return TAG.fullmatch(tag) is not None


def spans(rows: Sequence[Sequence[str]]) -> Iterator[Span]:
    """Yields every entity of the rows. A row is a list of tags."""
    for row, tags in enumerate(rows):
        start, kind, closed = 0, "", True
        for word, tag in enumerate([*tags, "O"]):
            prefix, _, tag_kind = tag.partition("-")
            if kind and (closed or prefix in BEGINS or tag_kind != kind):
                yield row, kind, start, word
                kind = ""
            if tag_kind and not kind:
                start, kind = word, tag_kind
            closed = prefix in ENDS


def _found(judged: Judged) -> tuple[set[Span], set[Span], set[Span]]:
    """Finds entities: the true ones, the predicted ones, and those that are both."""
    named = (
        [[judged.names[tag] for tag in row] for row in rows] for rows in (judged.reference, judged.predicted)
    )
    true, predicted = (set(spans(rows)) for rows in named)
    return true, predicted, true & predicted


def _of_rows(judged: Judged) -> NDArray[np.int64]:
    """Counts the same in each row: [rows, 3]."""
    rows = len(judged.reference)
    counts = [np.bincount([span[0] for span in part], minlength=rows) for part in _found(judged)]
    return np.stack(counts, axis=1).astype(np.int64)


def _scores(true: int, predicted: int, both: int) -> dict[str, float]:
    """Computes scores from numbers of entities; 0.0 where a score is undefined."""
    return {
        "precision": both / predicted if predicted else 0.0,
        "recall": both / true if true else 0.0,
        "f1": 2 * both / (true + predicted) if true + predicted else 0.0,
    }


def span_metric(name: str) -> Metric:
    """Makes a metric: `precision`, `recall` or `f1` of the entities of all types together."""
    return Counted(_of_rows, lambda sums: _scores(*map(int, sums))[name]).metric()


def entity_scores(
    reference: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], names: Sequence[str]
) -> dict[str, float]:
    """Computes the F1 of each entity type, named like `span_f1_PER`."""
    found = _found(Judged(reference, predicted, None, names))
    true, guessed, both = (Counter(span[1] for span in part) for part in found)
    kinds = sorted({name.partition("-")[2] for name in names if "-" in name})
    return {f"span_f1_{kind}": _scores(true[kind], guessed[kind], both[kind])["f1"] for kind in kinds}
