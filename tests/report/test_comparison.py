"""Several studies: which differences are beyond noise, and what is not known."""

from collections.abc import Sequence

import pytest
from optuna.study import Study
from scipy import stats
from searching import confirm, study_of

from finesweep.report.comparison import comparison
from finesweep.report.differences import differences
from finesweep.report.facts import Facts, gather
from finesweep.report.published import MODELS, SCORES, published
from finesweep.report.tables import published_table


def gathered(studies: Sequence[Study]) -> list[Facts]:
    return [gather(study, prefix=f"s{place}-") for place, study in enumerate(studies)]


def confirmed(name: str, values: list[float], **attributes: object) -> Study:
    study = study_of(3, name)
    if values:
        confirm(study, {study.best_trial.number: values})
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    return study


A, B, C = [0.80, 0.81, 0.79, 0.80], [0.70, 0.71, 0.69, 0.70], [0.78, 0.80, 0.83, 0.79]


def test_a_difference_is_judged_by_welch_and_corrected_for_the_number_of_pairs() -> None:
    found = differences(gathered([confirmed("a", A), confirmed("b", B), confirmed("c", C)]))
    assert [(one.first, one.second, one.verdict) for one in found] == [
        ("a", "b", "beyond noise"), ("a", "c", "within noise"), ("b", "c", "beyond noise")
    ]  # fmt: skip
    raw = [stats.ttest_ind(x, y, equal_var=False).pvalue for x, y in ((A, B), (A, C), (B, C))]
    assert found[1].p == pytest.approx(raw[1])  # the greatest of three
    assert found[0].p == pytest.approx(3 * raw[0])  # the least of three
    assert found[0].lead == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([], "unknown: no seeds of b"), ([0.5], "unknown: one seed of b")],
    ids=["none", "one"],
)
def test_without_seeds_a_difference_is_unknown(values: list[float], verdict: str) -> None:
    (found,) = differences(gathered([confirmed("a", A), confirmed("b", values)]))
    assert found.verdict.startswith(verdict) and found.p is None


def test_seeds_without_any_spread_are_no_test() -> None:
    (found,) = differences(gathered([confirmed("a", [1.0, 1.0]), confirmed("b", [0.9, 0.9])]))
    assert found.verdict.startswith("unknown: no spread")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"objectives": {"f1": "maximize"}, "metric": "f1"}, "accuracy against f1"),
        ({"identity": {"data.eval content": "others", "seed": 42}}, "other evaluation rows"),
    ],
    ids=["metric", "rows"],
)
def test_what_cannot_be_compared_is_not(attributes: dict[str, object], reason: str) -> None:
    (found,) = differences(gathered([confirmed("a", A), confirmed("b", B, **attributes)]))
    assert found.verdict == f"not comparable: {reason}"


def test_studies_of_a_glue_task_stand_beside_the_published_models() -> None:
    studies = [confirmed(name, A, glue_task="rte") for name in ("tiny", "mini")]
    gathered_ = gathered(studies)
    assert "BERT-Medium, published" in (compared := comparison(gathered_)) and "0.6220" in compared
    assert "BERT-Medium (test)" in published_table(gathered_[0])


def test_published_scores_are_those_of_their_source() -> None:
    """The source's row of BERT-Tiny, and a task or metric that it lacks."""
    tiny = [scores[0] for metrics in SCORES.values() for scores in metrics.values()]
    assert tiny == [0.0, 83.2, 81.1, 71.1, 74.3, 73.6, 62.2, 83.4, 70.2, 81.5, 57.2, 62.3]
    assert published("qnli", "accuracy") == dict(zip(MODELS, (0.815, 0.841, 0.864, 0.877), strict=True))
    assert published("qnli", "f1") == published(None, "accuracy") == {}
