"""What every type of task promises. A new type gets an entry in `CASES` and must pass all of it."""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from labelled import evaluation
from processes import ROOT

from finesweep.config.run import DataConfig, ProblemType, RunConfig
from finesweep.config.trained import trained_with
from finesweep.data import load_splits
from finesweep.errors import ConfigError, DataError
from finesweep.hooks import RunState, TrialPruned, current_hooks
from finesweep.inference.judging import judge_rows
from finesweep.inference.origin import Stores
from finesweep.inference.rows import table_of_file
from finesweep.io import checkpoint
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.reproduce.rerun import Reproduction, rerun
from finesweep.reproduce.verdict import judge
from finesweep.tasks import TYPES, Scorer, check_metric, task_of
from finesweep.tasks.class_weights import class_weights
from finesweep.training.inputs import load_inputs
from finesweep.training.run import run
from finesweep.training.trainer import WholeCheckpointTrainer

Compose = Callable[..., RunConfig]
FILES = ROOT / "tests" / "cases"


@dataclass(frozen=True)
class Case:
    """A table of people's, as one command gives it."""

    problem_type: ProblemType
    file: str
    overrides: tuple[str, ...]
    header: list[str]  # of its prediction file
    wrong_cell: tuple[str, Any]  # a column, and what cannot stand there
    weighted: bool = True
    names: list[str] = field(default_factory=list)  # of the labels, by id


MULTI = ProblemType.multi_label_classification
TOPICS = ["price", "quality", "shipping", "support"]
COLUMNS = ["shipping", "quality", "price", "support"]
ANSWER = ["index", "prediction"]
CASES = {
    "classification": Case(
        ProblemType.classification,
        "fraud.csv",
        ("data.metric=f1", "data.positive_label=fraud", "data.class_weights={fraud: 3, legit: 1}"),
        ANSWER,
        ("label", ""),
        names=["fraud", "legit"],
    ),
    "regression": Case(
        ProblemType.regression,
        "scores.csv",
        ("data.metric=rmse",),
        ANSWER,
        ("label", "x"),
        weighted=False,
        names=["value"],
    ),
    "labels in a list": Case(
        MULTI,
        "multi_label.jsonl",
        ("data.metric=f1_micro", "data.label_column=labels", "data.class_weights=balanced"),
        ANSWER,
        ("labels", "one|two"),
        names=TOPICS,
    ),
    "labels in one text": Case(
        MULTI,
        "multi_label_separated.csv",
        ("data.metric=f1_samples", "data.label_column=labels", "data.label_separator='|'"),
        ANSWER,
        ("labels", 3),
        names=TOPICS,
    ),
    "labels in columns": Case(
        MULTI,
        "multi_label_columns.csv",
        ("data.metric=subset_accuracy", f"data.label_columns=[{','.join(COLUMNS)}]", "data.threshold=0.4"),
        ["index", *COLUMNS],
        ("price", "maybe"),
        names=COLUMNS,
    ),
    "tokens": Case(
        ProblemType.token_classification,
        "tokens_bio.jsonl",
        (
            "data.metric=span_f1",
            "data.text_columns=[tokens]",
            "data.label_column=tags",
            "data.class_weights=balanced",
        ),
        ANSWER,
        ("tags", ["O"]),
        names=["B-LOC", "B-PER", "I-PER", "O"],
    ),
}
SMALL = ("trainer.num_train_epochs=2", "trainer.per_device_train_batch_size=8", "trainer.evals_per_epoch=2")


def table(folder: Path, case: Case) -> Path:
    if case.file != "scores.csv":
        return FILES / case.file
    path = folder / case.file
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows((f"a row with {'many ' * (i % 7)}words", i % 7 + 0.5) for i in range(40))
    return path


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def settings(case: Case, config: Compose, own_folder: Path) -> RunConfig:
    """The run of a case: it selects on, and predicts, the rows that it trains on."""
    return config(
        "data=table", f"data.path={table(own_folder, case)}", "data.text_columns=[text]",
        f"data.problem_type={case.problem_type.value}", "data.eval_split=train", "data.test_split=train",
        "optimizer.learning_rate=3e-3", "model.dropout=0.1", *SMALL, *case.overrides,
    )  # fmt: skip


def test_every_type_has_a_case() -> None:
    assert {case.problem_type for case in CASES.values()} == set(TYPES) == set(ProblemType)


def test_what_is_read_is_encoded_and_answered_again_as_it_was(case: Case, settings: RunConfig) -> None:
    """Outputs that say just what the labels are score perfectly, and the prediction file has them all."""
    inputs = load_inputs(settings)
    task, names = inputs.task, inputs.names
    assert names == case.names
    check_metric(task, names)
    logits, labels = perfect_outputs(inputs.train, case)
    found = Scorer(task, names)(evaluation(logits, labels))
    assert found[settings.data.metric] == pytest.approx(0.0 if settings.data.metric == "rmse" else 1.0)
    header, rows = task.answers(logits, inputs.train, names)
    again = [task.read_label(cells) for cells in as_cells(case, header, list(rows))]
    original = load_splits(settings.data).train["label"]
    ids = {name: index for index, name in enumerate(names)}
    np.testing.assert_allclose(flat(task.encode(label, ids) for label in again), flat(original), atol=1e-5)


def flat(values: Iterable[Any]) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in values])


def perfect_outputs(rows: Any, case: Case) -> tuple[np.ndarray, np.ndarray]:
    if case.problem_type is ProblemType.regression:
        return np.asarray(rows["labels"], np.float32)[:, None], np.asarray(rows["labels"])
    if case.problem_type is MULTI:
        labels = np.asarray(rows["labels"], np.float32)
        return labels * 20 - 10, labels
    if case.problem_type is ProblemType.classification:
        labels = np.asarray(rows["labels"])
        return np.eye(len(case.names))[labels] * 10, labels
    width = max(map(len, rows["labels"]))
    labels = np.asarray([[*row, *[-100] * (width - len(row))] for row in rows["labels"]])
    return np.eye(len(case.names))[np.maximum(labels, 0)] * 10, labels


def as_cells(case: Case, header: list[str], rows: list[list[str]]) -> list[list[Any]]:
    """A prediction file's cells, as a table of the case would hold them."""
    if case.problem_type is ProblemType.token_classification:
        return [[row[0].split()] for row in rows]
    if case.file.endswith(".jsonl"):
        return [[row[0].split("|") if row[0] else []] for row in rows]
    return [list(row) for row in rows]


def test_a_run_is_scored_kept_and_predicted(case: Case, settings: RunConfig, own_folder: Path) -> None:
    result = run(settings, own_folder / "out")
    assert result.value is not None and np.isfinite(result.value)
    assert {f"eval_{name}" for name in task_of(settings.data).default_metrics(case.names)} <= (
        result.metrics.keys()
    )
    model = getattr(transformers, task_of(settings.data).model_class).from_pretrained(str(result.checkpoint))
    assert list(model.config.id2label.values()) == case.names
    lines = Path(str(result.submission)).read_text().splitlines()
    assert lines[0].split("\t") == case.header
    assert len(lines) == 1 + len(load_splits(settings.data).train)
    assert_predicted_alike(settings, str(result.checkpoint), str(result.run_id), lines)


def assert_predicted_alike(settings: RunConfig, folder: str, run_id: str, lines: list[str]) -> None:
    """`finesweep predict` answers the same rows as the run's own prediction file, to the last digit."""
    stores = Stores("sqlite:///mlruns/optuna.db", settings.tracking)
    read = partial(table_of_file, Path(str(settings.data.path)))
    found, origin, _ = judge_rows(folder, read, stores, ["trainer.threads=1"])
    assert found.written == [line.split("\t")[1:] for line in lines[1:]]
    task = task_of(settings.data)
    for name, shares in found.probabilities.items():
        flat_shares = flat([[share] if isinstance(share, float) else share for share in shares])
        assert name.startswith("probability") and ((flat_shares > 0) & (flat_shares < 1)).all()
    assert bool(found.probabilities) is (task.has_probabilities or task.is_pretokenized)
    assert origin.known == trained_with(load_recorded_run(run_id, settings.tracking).record.config)


@pytest.mark.parametrize("weights", ["null", "balanced"])
def test_a_row_whose_words_have_no_token_counts_nothing(
    weights: str, config: Compose, own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is neither learned from nor scored, even alone in a batch, and a prediction file has O for it."""
    rows = FILES.joinpath("tokens_bio.jsonl").read_text().splitlines()[:8]
    nothing = json.dumps({"tokens": ["\u200b"], "tags": ["O"]})  # a zero-width space
    (own_folder / "rows").mkdir()
    for name in ("train", "validation"):
        (own_folder / "rows" / f"{name}.jsonl").write_text(
            "\n".join([*rows[:3], nothing, *rows[3:], nothing])
        )
    settings = config(
        "data=table", "data.path=rows", "data.problem_type=token_classification",
        "data.text_columns=[tokens]", "data.label_column=tags", "data.metric=span_f1",
        "data.eval_split=train", "data.final_eval_split=validation", "data.test_split=train",
        f"data.class_weights={weights}", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=1", "trainer.per_device_eval_batch_size=1",
    )  # fmt: skip
    result = run(settings, own_folder / "out")
    assert np.isfinite(list(result.metrics.values())).all()
    assert "train: 2 rows are left out, because the tokenizer makes no token of their words" in caplog.text
    predicted = Path(str(result.submission)).read_text().splitlines()
    assert len(predicted) == 11 and predicted[4] == "3\tO" and predicted[10] == "9\tO"


def test_rows_that_all_have_no_token_are_refused(config: Compose, own_folder: Path) -> None:
    rows = [{"tokens": ["\u200b"], "tags": [tag]} for tag in ("O", "B-PER")]
    (own_folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = config(
        "data=table", "data.path=rows.jsonl", "data.problem_type=token_classification",
        "data.text_columns=[tokens]", "data.label_column=tags", "data.metric=span_f1",
        "data.eval_split=train",
    )  # fmt: skip
    with pytest.raises(DataError, match="train: the tokenizer makes no token of any word"):
        run(settings, own_folder / "out")


def test_a_run_that_is_interrupted_or_made_again_gives_the_same_weights_predictions_and_scores(
    settings: RunConfig, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run(settings, own_folder / "a")
    step = WholeCheckpointTrainer.training_step

    def interrupt(self: WholeCheckpointTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if self.state.global_step == self.state.max_steps - 1:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpointTrainer, "training_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(settings, own_folder / "b")
    resumed = run(settings, own_folder / "b")
    weights = [checkpoint.weights_sha256(Path(str(r.checkpoint))) for r in (undisturbed, resumed)]
    assert weights[0] == weights[1]
    assert Path(str(undisturbed.submission)).read_text() == Path(str(resumed.submission)).read_text()
    recorded = load_recorded_run(str(resumed.run_id), settings.tracking)
    verdict = judge(recorded, rerun(recorded, rebuild(recorded, [], settings.tracking), []), [], 0.0)
    assert verdict.verdict == "EXACT", verdict


class PrunedAtTheSecond(Reproduction):
    """Whoever starts the run gives it up at its second evaluation, as a study's pruner does."""

    run_id, evaluations, kind, predicts = "", 0, "trial", False
    run_name, tags, metrics = "pruned", {"finesweep.kind": "trial"}, frozenset[str]()  # type: ignore[assignment]

    def __init__(self) -> None: ...

    def evaluated(self, value: float, progress: float) -> None:
        self.evaluations += 1
        if self.evaluations == 2:
            raise TrialPruned

    def ending(self, state: RunState, error: BaseException | None) -> RunState:
        self.result = json.loads(Path("out/result.json").read_text())
        return super().ending(state, error)


def test_a_pruned_run_says_what_it_had_seen(settings: RunConfig, own_folder: Path) -> None:
    hooks = PrunedAtTheSecond()
    token = current_hooks.set(hooks)
    with pytest.raises(TrialPruned):
        run(settings, own_folder / "out")
    current_hooks.reset(token)
    recorded = load_recorded_run(hooks.run_id, settings.tracking)
    assert recorded.state == "PRUNED"
    assert hooks.result["status"] == "KILLED"  # already before the run is closed, when a kill may come
    assert len({step for name, step in recorded.history if name == recorded.metric}) == 2


def test_a_cell_that_holds_no_label_is_refused_with_its_place(
    case: Case, config: Compose, own_folder: Path
) -> None:
    column, cell = case.wrong_cell
    rows = rows_of(table(own_folder, case))
    rows[1][column] = cell
    path = own_folder / "wrong.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    broken = config(
        "data=table", f"data.path={path}", "data.text_columns=[text]", "data.eval_split=train",
        f"data.problem_type={case.problem_type.value}", *case.overrides,
    )  # fmt: skip
    with pytest.raises(DataError, match="row 2, line 2: .*(label|tags)"):
        load_splits(broken.data)


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_class_weights_are_for_the_types_that_have_classes(case: Case, settings: RunConfig) -> None:
    task, labels = task_of(settings.data), load_splits(settings.data).train["label"]
    task.config.class_weights = "balanced"
    if not case.weighted:
        with pytest.raises(ConfigError, match="data.class_weights: got 'balanced'; legal: null for regress"):
            class_weights(task, case.names, labels)
        return
    weights = class_weights(task, case.names, labels)
    assert weights is not None and len(weights) == len(case.names)
    counts = task.class_counts(labels, len(case.names))
    assert np.argmax(weights) == np.argmin(counts)  # the rarest weighs most
    task.config.class_weights = {case.names[0]: 1.0}
    with pytest.raises(ConfigError, match=f"a weight for each of {case.names[0]}, {case.names[1]}"):
        class_weights(task, case.names, labels)


def test_keys_of_another_type_are_refused(case: Case) -> None:
    if case.problem_type is MULTI:
        both = {"label_separator": "|", "label_columns": ["a", "b"]}
        with pytest.raises(ConfigError, match="data.label_separator: got '|'; legal: null together with"):
            task_of(DataConfig(name="x", problem_type=MULTI, text_columns=["text"], **both))
        return
    config = DataConfig(name="x", problem_type=case.problem_type, text_columns=["text"], label_columns=["a"])
    with pytest.raises(ConfigError, match="data.label_columns: got .*; legal: .*problem_type="):
        task_of(config)
    config = DataConfig(name="x", problem_type=case.problem_type, text_columns=["text"], threshold=0.4)
    with pytest.raises(
        ConfigError, match="data.threshold: got 0.4; legal: 0.5, the default; .* no threshold"
    ):
        task_of(config)
