"""Entities in tagged words: where they begin and end, and how many were found.

scikit-learn has no score of spans, and seqeval, the usual library, is no longer maintained; so they are read
here by the rules of CoNLL's own script: `B-`, `S-` and `U-` begin an entity, and so does any tag of another
type than the one before; `E-`, `L-`, `S-` and `U-` end it. So IOB1, IOB2, IOBES and BILOU are all read.
Source: https://www.clips.uantwerpen.be/conll2000/chunking/conlleval.txt
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from finesweep.tasks.metrics import Judged

TAG = re.compile(r"O|([BIESLUM])-(.+)")
BEGINS, ENDS = "BSU", "ELSU"

Span = tuple[int, str, int, int]  # row, type, first word, behind the last word


def is_span_tag(tag: str) -> bool:
    return TAG.fullmatch(tag) is not None


def spans(rows: Sequence[Sequence[str]]) -> Iterator[Span]:
    """Yields every entity of the rows, each a list of tags."""
    for row, tags in enumerate(rows):
        start, kind, closed = 0, "", True
        for word, tag in enumerate([*tags, "O"]):
            prefix, _, of = tag.partition("-")
            if kind and (closed or prefix in BEGINS or of != kind):
                yield row, kind, start, word
                kind = ""
            if of and not kind:
                start, kind = word, of
            closed = prefix in ENDS


def _counts(judged: Judged) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Counts entities by type: in the truth, in the predictions, in both."""
    named = (
        [[judged.names[tag] for tag in row] for row in rows] for rows in (judged.reference, judged.predicted)
    )
    true, predicted = (set(spans(rows)) for rows in named)
    return (
        Counter(span[1] for span in true),
        Counter(span[1] for span in predicted),
        Counter(span[1] for span in true & predicted),
    )


def _scores(true: int, predicted: int, both: int) -> dict[str, float]:
    """Computes the scores; 0.0 where there is nothing to find, or nothing was found."""
    return {
        "precision": both / predicted if predicted else 0.0,
        "recall": both / true if true else 0.0,
        "f1": 2 * both / (true + predicted) if true + predicted else 0.0,
    }


def span_score(name: str) -> Callable[[Judged], float]:
    """Gives the `precision`, `recall` or `f1` of all entities together."""
    return lambda judged: _scores(*(counts.total() for counts in _counts(judged)))[name]


def entity_scores(
    reference: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], names: Sequence[str]
) -> dict[str, float]:
    """Gives the F1 of each type of entity, `span_f1_PER`."""
    true, found, both = _counts(Judged(reference, predicted, None, names))
    kinds = sorted({name.partition("-")[2] for name in names if "-" in name})
    return {f"span_f1_{kind}": _scores(true[kind], found[kind], both[kind])["f1"] for kind in kinds}
