import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from finesweep.config.run import DataConfig, Direction, ProblemType
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.metrics import METRICS, check_metric, metrics_for

CLASSIFICATION, REGRESSION = ProblemType.classification, ProblemType.regression
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


def data(problem_type: ProblemType = CLASSIFICATION, **keys: object) -> DataConfig:
    return DataConfig(name="test", text_columns=["text"], problem_type=problem_type, **keys)


def evaluation(outputs: object, labels: object) -> SimpleNamespace:
    """`Trainer` fills an `EvalPrediction`; of it only these two fields are read."""
    return SimpleNamespace(predictions=outputs, label_ids=np.asarray(labels))


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
    scores = metrics_for(data(), num_labels)(evaluation(logits, labels))
    two_only = ["f1"] if num_labels == 2 else []
    assert set(scores) == {"accuracy", "f1_macro", "matthews_correlation", *two_only}
    assert scores == pytest.approx(expected(list(scores), logits.argmax(axis=1), labels), abs=1e-12)


@pytest.mark.parametrize("case", ONE_SIDED)
def test_one_sided_predictions_score_as_scikit_learn_says(case: str) -> None:
    predictions, labels = map(np.asarray, ONE_SIDED[case])
    scores = metrics_for(data(), 2)(evaluation(one_hot(predictions, 2), labels))
    assert scores == pytest.approx(expected(list(scores), predictions, labels), abs=1e-12)


def test_a_class_missing_from_both_sides_is_left_out_of_f1_macro() -> None:
    predictions, labels = np.array([0, 3, 3, 0]), np.array([0, 3, 0, 0])
    scores = metrics_for(data(), 5)(evaluation(one_hot(predictions, 5), labels))
    assert scores == pytest.approx(expected(list(scores), predictions, labels), abs=1e-12)


@pytest.mark.parametrize("decimals", [6, 1, 0])  # fewer decimals, more ties
@pytest.mark.parametrize("shape", [(400,), (400, 1)])
def test_regression_scores_equal_scipy(decimals: int, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(decimals)
    labels = np.round(random.uniform(0, 5, 400), decimals)
    outputs = np.round(labels + random.normal(size=400), decimals)
    scores = metrics_for(data(REGRESSION), 1)(evaluation(outputs.reshape(shape), labels))
    assert set(scores) == {"pearson", "spearmanr", "mse"}
    assert scores == pytest.approx(expected(list(scores), outputs, labels), abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 2.7, np.float32(0.1)])
def test_a_constant_predictor_correlates_0(constant: float) -> None:
    labels = np.linspace(0, 5, 1000)
    scores = metrics_for(data(REGRESSION), 1)(evaluation(np.full((1000, 1), constant), labels))
    assert (scores["pearson"], scores["spearmanr"]) == (0.0, 0.0)
    assert scores["mse"] > 0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize(("problem_type", "num_labels"), [(CLASSIFICATION, 2), (REGRESSION, 1)])
def test_a_model_that_blew_up_scores_nan(problem_type: ProblemType, num_labels: int, broken: float) -> None:
    logits = np.zeros((4, num_labels), dtype=np.float32)
    logits[1, 0] = broken
    scores = metrics_for(data(problem_type), num_labels)(evaluation(logits, [0, 1, 0, 1]))
    assert scores
    assert all(np.isnan(score) for score in scores.values())


def test_scores_are_plain_floats_and_extra_outputs_are_passed_over() -> None:
    outputs = (one_hot([0, 1], 2), np.zeros((2, 4, 8)))  # logits, then hidden states
    scores = metrics_for(data(), 2)(evaluation(outputs, [0, 1]))
    assert scores == {"accuracy": 1.0, "f1": 1.0, "f1_macro": 1.0, "matthews_correlation": 1.0}
    assert {type(score) for score in scores.values()} == {float}


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
        metrics_for(data(), 2)(evaluation(logits, labels))


@pytest.mark.parametrize(
    ("keys", "num_labels", "message"),
    [
        ({"metric": "f2"}, 2, "data.metric: got 'f2'; known: accuracy, f1, f1_macro, matthews_correlation, "),
        ({"metric": "pearson"}, 2, "got 'pearson', a regression metric, but data.problem_type is classific"),
        ({"metric": "pearson"}, 3, "legal here: accuracy, f1_macro, matthews_correlation$"),
        ({"metric": "f1"}, 3, "got 'f1', which is for 2 labels, but the data has 3; legal here: accuracy, "),
        ({"metric": "f1", "problem_type": REGRESSION}, 1, "legal here: pearson, spearmanr, mse$"),
        ({"metric": "accuracy", "direction": Direction.minimize}, 2, "data.direction: got 'minimize'; legal"),
        ({"metric": "mse", "problem_type": REGRESSION}, 1, "data.direction: got 'maximize'; legal: minimize"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(keys: dict, num_labels: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_metric(data(**keys), num_labels)


@pytest.mark.parametrize("name", METRICS)
def test_every_known_metric_is_legal_where_it_fits_and_is_reported_there(name: str) -> None:
    score = METRICS[name]
    config = data(score.problem_type, metric=name, direction=score.direction)
    num_labels = 2 if score.problem_type is CLASSIFICATION else 1
    check_metric(config, num_labels)
    assert name in metrics_for(config, num_labels)(evaluation(np.eye(2)[:, :num_labels], [0, 1]))


def test_checking_a_metric_imports_no_torch() -> None:
    code = (
        "import sys\nfrom finesweep.config.run import DataConfig\n"
        "from finesweep.tasks.metrics import check_metric\n"
        "check_metric(DataConfig(metric='accuracy'), 2)\n"
        "print(sorted({'torch', 'evaluate', 'datasets', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scoring_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    metrics_for(data(), 2)(evaluation(one_hot([0, 1, 1], 2), [0, 1, 0]))
    assert os.listdir(tmp_path) == []


def test_scoring_10_000_rows_costs_next_to_nothing() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(10_000, 2)), random.integers(0, 2, 10_000)
    compute_metrics = metrics_for(data(), 2)
    compute_metrics(evaluation(logits, labels))
    start = time.perf_counter()
    compute_metrics(evaluation(logits, labels))
    assert (
        time.perf_counter() - start < 1.0
    )  # measured: 0.02 to 0.04 s; predicting these rows takes 10 s and more
