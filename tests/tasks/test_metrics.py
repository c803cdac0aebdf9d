import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled import CLASSIFICATION, MULTI_LABEL, NAMES, REGRESSION, TOKENS, scores, task
from scipy import stats
from sklearn import metrics as sklearn_metrics

from finesweep.config.run import Direction, ProblemType
from finesweep.errors import ConfigError, DataError
from finesweep.tasks import TYPES, check_labels, check_metric, direction_of, score_name

REFERENCE = {
    "accuracy": lambda p, r: sklearn_metrics.accuracy_score(r, p),
    "f1": lambda p, r: sklearn_metrics.f1_score(r, p, zero_division=0),
    "f1_macro": lambda p, r: sklearn_metrics.f1_score(r, p, average="macro", zero_division=0),
    "matthews_correlation": lambda p, r: sklearn_metrics.matthews_corrcoef(r, p),
    "pearson": lambda p, r: stats.pearsonr(p, r)[0],
    "spearmanr": lambda p, r: stats.spearmanr(p, r)[0],
    "mse": lambda p, r: sklearn_metrics.mean_squared_error(r, p),
}
ONE_SIDED = {  # predictions, label ids
    "a mixed pair": ([0, 1, 1, 0, 1], [0, 1, 0, 0, 1]),
    "only negatives predicted": ([0, 0, 0, 0], [0, 1, 1, 0]),
    "only positives predicted": ([1, 1, 1, 1], [0, 1, 1, 0]),
    "only negatives labelled": ([0, 1, 0, 0], [0, 0, 0, 0]),
    "no positive anywhere": ([0, 0], [0, 0]),
    "all right": ([0, 1], [0, 1]),
    "all wrong": ([0, 1], [1, 0]),
    "one row": ([1], [1]),
}


def one_hot(ids: object, num_labels: int) -> np.ndarray:
    return np.eye(num_labels, dtype=np.float32)[np.asarray(ids)]


def expected(names: list[str], predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are missing
        return {name: float(REFERENCE[name](predictions, labels)) for name in names}


@pytest.mark.parametrize("num_labels", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_classification_scores_equal_scikit_learn(num_labels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(500, num_labels)).astype(np.float32)
    labels = np.where(random.random(500) < 0.5, logits.argmax(axis=1), random.integers(0, num_labels, 500))
    found = scores(logits, labels, num_labels)
    two_only = ["f1"] if num_labels == 2 else []
    assert set(found) == {"accuracy", "f1_macro", "matthews_correlation", *two_only}
    assert found == pytest.approx(expected(list(found), logits.argmax(axis=1), labels), abs=1e-12)


@pytest.mark.parametrize("case", ONE_SIDED)
def test_one_sided_predictions_score_as_scikit_learn_says(case: str) -> None:
    predictions, labels = map(np.asarray, ONE_SIDED[case])
    found = scores(one_hot(predictions, 2), labels)
    assert found == pytest.approx(expected(list(found), predictions, labels), abs=1e-12)


def test_a_class_missing_from_both_sides_is_left_out_of_f1_macro() -> None:
    predictions, labels = np.array([0, 3, 3, 0]), np.array([0, 3, 0, 0])
    found = scores(one_hot(predictions, 5), labels, 5)
    assert found == pytest.approx(expected(list(found), predictions, labels), abs=1e-12)


@pytest.mark.parametrize("decimals", [6, 1, 0])  # fewer decimals, more ties
@pytest.mark.parametrize("shape", [(400,), (400, 1)])
def test_regression_scores_equal_scipy(decimals: int, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(decimals)
    labels = np.round(random.uniform(0, 5, 400), decimals)
    outputs = np.round(labels + random.normal(size=400), decimals)
    found = scores(outputs.reshape(shape), labels, ["value"], task(REGRESSION))
    assert set(found) == {"pearson", "spearmanr", "mse"}
    assert found == pytest.approx(expected(list(found), outputs, labels), abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 2.7, np.float32(0.1)])
def test_a_constant_predictor_correlates_0(constant: float) -> None:
    labels = np.linspace(0, 5, 1000)
    found = scores(np.full((1000, 1), constant), labels, ["value"], task(REGRESSION))
    assert (found["pearson"], found["spearmanr"]) == (0.0, 0.0)
    assert found["mse"] > 0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("problem_type", [CLASSIFICATION, REGRESSION, MULTI_LABEL])
def test_a_model_that_blew_up_scores_nan(problem_type: ProblemType, broken: float) -> None:
    names = NAMES[problem_type]
    logits = np.zeros((4, len(names)), dtype=np.float32)
    logits[1, 0] = broken
    labels = np.eye(3)[[0, 1, 0, 1]] if problem_type is MULTI_LABEL else [0, 1, 0, 1]
    found = scores(logits, labels, names, task(problem_type))
    assert found
    assert all(np.isnan(score) for score in found.values())


def test_scores_are_plain_floats_and_extra_outputs_are_passed_over() -> None:
    outputs = (one_hot([0, 1], 2), np.zeros((2, 4, 8)))  # logits, then hidden states
    found = scores(outputs, [0, 1])
    assert found == {"accuracy": 1.0, "f1": 1.0, "f1_macro": 1.0, "matthews_correlation": 1.0}
    assert {type(score) for score in found.values()} == {float}


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 2)), [], "no rows"),
        (np.zeros((3, 2)), [0, -1, 1], "row 1 of the evaluation split has label id -1; expected 0 to 1"),
        (np.zeros((3, 2)), [0, 1, 2], "row 2 of the evaluation split has label id 2; expected 0 to 1"),
    ],
)
def test_a_split_that_cannot_be_scored_is_refused(
    logits: np.ndarray, labels: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scores(logits, np.asarray(labels, np.int64))


@pytest.mark.parametrize(
    ("keys", "names", "message"),
    [
        (
            {"metric": "f2"},
            2,
            "data.metric: got 'f2'; known for data.problem_type=classification: accuracy, ",
        ),
        (
            {"metric": "pearson"},
            2,
            "got 'pearson', a metric of data.problem_type=regression; did you mean precision. known for data",
        ),
        ({"metric": "f1"}, 3, "got 'f1', which is for 2 labels, but the data has 3; legal here: accuracy, "),
        ({"metric": "f1"}, 3, "legal here: accuracy, balanced_accuracy, f1_macro, .*top_2_accuracy$"),
        ({"metric": "top_3_accuracy"}, 3, "which is for 4 labels or more, but the data has 3; legal here"),
        (
            {"metric": "f1", "problem_type": REGRESSION},
            1,
            "known .*: pearson, spearmanr, mse, rmse, mae, r2;",
        ),
        ({"metric": "accuracy", "direction": Direction.minimize}, 2, "data.direction: got 'minimize'; legal"),
        (
            {"metric": "mse", "problem_type": REGRESSION, "direction": Direction.maximize},
            1,
            "data.direction: got 'maximize'; legal: null, or minimize, for mse",
        ),
        ({"metric": "span_f1", "problem_type": TOKENS}, 3, "the tag '0' marks no span; .*legal here: accur"),
        (
            {"metric": "f1", "positive_label": "maybe"},
            2,
            "data.positive_label: got 'maybe'; legal: no or yes",
        ),
        ({"metric": "accuracy", "positive_label": "1"}, 3, "data.positive_label: got '1'; legal: null, for"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(keys: dict, names: int, message: str) -> None:
    labels = ["no", "yes"] if names == 2 else [str(index) for index in range(names)]
    with pytest.raises(ConfigError, match=message):
        check_metric(task(**keys), labels)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        (
            CLASSIFICATION,
            [1, 1, 1],
            "data.metric: got 'roc_auc', .* none of the 3 evaluation rows .*'no'",
        ),
        (CLASSIFICATION, [0, 0, 0], "all of the 3 evaluation rows have the label 'no'; choose other rows"),
        (MULTI_LABEL, [[0, 1, 1], [1, 1, 0]], "all of the 2 evaluation rows have the label 'quality'"),
        (MULTI_LABEL, [[0, 1, 0], [1, 0, 0]], "none of the 2 evaluation rows have the label 'shipping'"),
    ],
)
def test_a_metric_that_needs_every_label_is_refused_where_one_is_missing(
    kind: ProblemType, labels: list[Any], message: str
) -> None:
    of = task(kind, metric="roc_auc")
    with pytest.raises(ConfigError, match=message):
        check_labels(of, "roc_auc", NAMES[kind], labels)
    assert np.isnan(scores(np.ones(np.shape(labels) if kind is MULTI_LABEL else (3, 2)), labels,
                           NAMES[kind], of)["roc_auc"])  # fmt: skip
    for metric in of.metrics.keys() - {"roc_auc"}:
        check_labels(of, metric, NAMES[kind], labels)


@pytest.mark.parametrize(
    ("names", "positive"),
    [
        (["0", "1"], "1"), (["False", "True"], "True"), (["no", "yes"], "yes"), (["pos", "neg"], "pos"),
        (["negative", "positive"], "positive"), (["entailment", "not_entailment"], "entailment"),
        (["not_equivalent", "equivalent"], "equivalent"), (["non-toxic", "toxic"], "toxic"),
    ],
)  # fmt: skip
def test_names_that_make_it_plain_whose_f1_it_is(names: list[str], positive: str) -> None:
    of_f1 = task(metric="f1")
    check_metric(of_f1, names)
    assert score_name(of_f1, names) == f"f1 of {positive!r}"


def test_names_that_do_not_make_it_plain_want_to_be_told_whose_f1_it_is() -> None:
    names = ["fraud", "legit"]
    which = "say whose it is: data.positive_label=fraud or data.positive_label=legit; legal here: accuracy"
    with pytest.raises(ConfigError, match=which):
        check_metric(task(metric="f1"), names)
    predictions, labels = one_hot([0, 1, 1, 1], 2), [0, 0, 1, 1]
    assert "f1" not in scores(predictions, labels, names)  # nobody asked, so nobody's is logged
    of_fraud, of_legit = (task(metric="f1", positive_label=name) for name in names)
    assert scores(predictions, labels, names, of_fraud)["f1"] == pytest.approx(2 / 3)
    assert scores(predictions, labels, names, of_legit)["f1"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("problem_type", "name"), [(kind, name) for kind, found in TYPES.items() for name in found.metrics]
)
def test_every_known_metric_is_legal_where_it_fits_and_is_a_number_there(
    problem_type: ProblemType, name: str
) -> None:
    of = task(problem_type, metric=name)
    names, random = NAMES[problem_type], np.random.default_rng(0)
    if name.startswith("top_"):
        names = [str(index) for index in range(12)]
    check_metric(of, names)
    if problem_type is TOKENS:
        outputs, labels = random.normal(size=(40, 6, 3)), random.integers(0, 3, size=(40, 6))
    elif problem_type is MULTI_LABEL:
        outputs, labels = random.normal(size=(40, 3)), random.integers(0, 2, size=(40, 3))
    else:
        outputs, labels = random.normal(size=(40, len(names))), random.integers(0, len(names), size=40)
        labels = labels + random.normal(size=40) if problem_type is REGRESSION else labels
    found = scores(outputs, labels, names, of)
    assert np.isfinite(found[name])
    assert direction_of(of) in Direction


def test_scores_of_probabilities_equal_scikit_learn() -> None:
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(300, 4)), random.integers(0, 4, 300)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = ["roc_auc", "log_loss", "brier", "top_2_accuracy", "average_precision_macro", "quadratic_kappa"]
    found = scores(logits, labels, 4, more=names)
    one_each = np.eye(4)[labels]
    assert {name: found[name] for name in names} == pytest.approx(
        {
            "roc_auc": sklearn_metrics.roc_auc_score(labels, shares, multi_class="ovr"),
            "log_loss": sklearn_metrics.log_loss(labels, shares),
            "brier": float(((shares - one_each) ** 2).sum(axis=1).mean()),
            "top_2_accuracy": sklearn_metrics.top_k_accuracy_score(labels, shares, k=2),
            "average_precision_macro": sklearn_metrics.average_precision_score(one_each, shares),
            "quadratic_kappa": sklearn_metrics.cohen_kappa_score(
                labels, logits.argmax(axis=1), weights="quadratic"
            ),
        },
        abs=1e-9,
    )


def test_two_labels_have_one_curve_and_a_brier_score_below_1() -> None:
    logits, labels = np.array([[2.0, 0], [0, 1], [1, 0], [0, 3]]), np.array([0, 1, 1, 1])
    found = scores(logits, labels, more=["roc_auc", "brier", "average_precision"])
    chances = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    assert found["roc_auc"] == sklearn_metrics.roc_auc_score(labels, chances)
    assert found["brier"] == pytest.approx(float(((chances - labels) ** 2).mean()))
    assert found["average_precision"] == sklearn_metrics.average_precision_score(labels, chances)


OWN = """
import numpy as np

def costs(truth, predicted):
    assert truth.dtype.kind == "U", truth  # names, not ids
    return float(np.mean(np.where(truth == "fraud", 10.0, 1.0) * (truth != predicted)))

def nothing(truth, predicted):
    return None

number = 3
"""


def test_a_metric_of_ones_own_is_imported_and_named_with_its_module(own_folder: Path) -> None:
    (own_folder / "costs_of_mine.py").write_text(OWN)
    name = "costs_of_mine:costs"
    of = task(metric=name, direction=Direction.minimize)
    check_metric(of, ["fraud", "legit"])
    found = scores(one_hot([0, 1, 1, 1], 2), [0, 0, 1, 1], ["fraud", "legit"], of)
    assert found["costs_of_mine.costs"] == 2.5
    assert direction_of(of) is Direction.minimize


@pytest.mark.parametrize(
    ("name", "direction", "message"),
    [
        (
            "no_such_module_here:f",
            Direction.maximize,
            "cannot be imported .ModuleNotFoundError.*module:name",
        ),
        ("numpy:no_such_function", Direction.maximize, "cannot be imported .AttributeError"),
        ("numpy:pi", Direction.maximize, "data.metric: got 'numpy:pi', which is no function"),
        ("numpy:mean", None, "data.direction: got None; legal: maximize or minimize, for your own metric"),
    ],
)
def test_a_metric_of_ones_own_that_cannot_be_used_is_refused(
    name: str, direction: Direction | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_metric(task(metric=name, direction=direction), ["a", "b"])


def test_a_metric_of_ones_own_that_gives_no_number_is_named(own_folder: Path) -> None:
    (own_folder / "mine_that_fails.py").write_text(OWN)
    of = task(metric="mine_that_fails:nothing", direction=Direction.maximize)
    with pytest.raises(ConfigError, match="mine_that_fails:nothing returned None; legal: a number"):
        scores(one_hot([0, 1], 2), [0, 1], of=of)


def test_checking_a_metric_imports_no_torch() -> None:
    code = (
        "import sys\nfrom finesweep.config.run import DataConfig\n"
        "from finesweep.tasks import check_metric, task_of\n"
        "check_metric(task_of(DataConfig(metric='accuracy')), ['no', 'yes'])\n"
        "print(sorted({'torch', 'evaluate', 'transformers', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scoring_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    scores(one_hot([0, 1, 1], 2), [0, 1, 0])
    assert os.listdir(tmp_path) == []
