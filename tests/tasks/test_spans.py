import pytest

from finesweep.tasks.metrics import Judged
from finesweep.tasks.spans import entity_scores, is_span_tag, span_metric, spans

NAMES = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
ID = {name: index for index, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-PER I-PER O B-LOC", [("PER", 1, 3), ("LOC", 4, 5)]),  # IOB2
        ("I-PER I-PER O I-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),  # IOB1: B- only between neighbours
        ("I-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),  # another type begins another entity
        ("B-PER I-PER E-PER I-PER", [("PER", 0, 3), ("PER", 3, 4)]),  # IOBES
        ("S-PER I-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER L-PER U-PER O", [("PER", 0, 2), ("PER", 2, 3)]),  # BILOU
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_are_read_as_conlls_script_reads_them(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert [span[1:] for span in spans([tags.split()])] == found


def judged(truth: str, predicted: str) -> Judged:
    """Rows with `/` between them."""
    rows = [[[ID[tag] for tag in row.split()] for row in text.split("/")] for text in (truth, predicted)]
    return Judged(*rows, None, NAMES)


def test_an_entity_counts_only_whole_and_in_its_own_row() -> None:
    found = judged("B-PER I-PER O / B-LOC O", "B-PER O O / B-LOC B-PER")
    assert span_metric("precision").compute(found) == pytest.approx(1 / 3)
    assert span_metric("recall").compute(found) == pytest.approx(1 / 2)
    assert span_metric("f1").compute(found) == pytest.approx(2 / 5)
    each = entity_scores(found.reference, found.predicted, NAMES)
    assert each == {"span_f1_LOC": 1.0, "span_f1_PER": 0.0}


def test_nothing_to_find_and_nothing_found_scores_0_without_an_error() -> None:
    found = judged("O O", "O O")
    assert [span_metric(name).compute(found) for name in ("precision", "recall", "f1")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("tag", "marks"), [("O", True), ("B-PER", True), ("NOUN", False), ("B", False)])
def test_tags_that_mark_spans_are_told_from_others(tag: str, marks: bool) -> None:
    assert is_span_tag(tag) is marks
