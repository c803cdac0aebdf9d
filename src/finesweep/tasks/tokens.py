"""Token classification: each word of a row has a tag. `data.problem_type=token_classification`.

A row's text is a list of words. A word's tag is learned and scored on the word's first token (word piece);
its other tokens do not count. Words beyond `model.max_length` are cut off: they are not scored, and a
prediction file has O for them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import eq
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, List, Value

from finesweep.config.run import Empty, ProblemType
from finesweep.errors import ConfigError
from finesweep.tasks.base import Array, Task, softmax
from finesweep.tasks.cells import CellError, EmptyCell, as_list
from finesweep.tasks.metrics import Counted, Judged, Metric, averaged
from finesweep.tasks.spans import entity_scores, is_span_tag, span_metric

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of tokens that do not count; torch's cross entropy skips it
OUTSIDE = "O"  # the tag of words outside of entities


def _right_words(judged: Judged) -> Array:
    """Counts the words of each row whose tag is right, and all of them: [rows, 2]."""
    rows = zip(judged.reference, judged.predicted, strict=True)
    return np.array([(sum(map(eq, true, said)), len(true)) for true, said in rows], np.int64)


def _of_tokens(function: str, average: str) -> Metric:
    """Makes a metric of `sklearn.metrics` over the words of all rows together."""
    of_words = averaged(function, average)

    def compute(judged: Judged) -> float:
        words = replace(judged, reference=_flat(judged.reference), predicted=_flat(judged.predicted))
        return of_words(words)

    return Metric(compute, by_label=average == "macro")


class Tokens(Task):
    problem_type = ProblemType.token_classification
    model_class = "AutoModelForTokenClassification"
    is_pretokenized = True
    blank_text: Any = []  # noqa: RUF012  (is copied into rows, never changed)
    text_feature = label_feature = List(Value("string"))
    id_feature = List(Value("int64"))
    metrics = {
        **{f"span_{name}": span_metric(name) for name in ("f1", "precision", "recall")},
        "accuracy": Counted(_right_words, lambda sums: float(sums[0] / sums[1])).metric(),
        **{
            f"{name}_{average}": _of_tokens(f"{name}_score", average=average)
            for name in ("f1", "precision", "recall")
            for average in ("macro", "micro", "weighted")
        },
    }

    def check_config(self) -> None:
        super().check_config()
        if len(self.config.text_columns) != 1:
            raise ConfigError.at(
                "data.text_columns", list(self.config.text_columns), "one column, with lists of words"
            )
        if self.config.empty is Empty.keep:
            raise ConfigError.at("data.empty", "keep", "error or drop, for words have tags")

    def read_text(self, cell: object) -> list[str]:
        words = as_list(cell, "words")
        if not words:
            raise EmptyCell("is empty, expected a list of words")
        return words

    def read_label(self, cells: Sequence[object]) -> list[str]:
        tags = as_list(cells[0], "tags")
        if broken := [tag for tag in tags if not tag or tag.split() != [tag]]:
            raise CellError(f"has the tag {broken[0]!r}; legal: a tag without white space")
        return tags

    def names_in(self, label: list[str]) -> Iterable[str]:
        return label

    def encode(self, label: list[str], ids: Mapping[str, int]) -> list[int]:
        return [ids[tag] for tag in label]

    def collator(self, tokenizer: "PreTrainedTokenizerBase") -> Any:
        from transformers import DataCollatorForTokenClassification

        return DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED)

    def class_counts(self, labels: Any, size: int) -> Array:
        tags = np.concatenate([np.asarray(row) for row in labels])
        return np.bincount(tags[tags != IGNORED], minlength=size)

    def weighted_loss(
        self, logits: "torch.Tensor", labels: "torch.Tensor", weights: "torch.Tensor"
    ) -> "torch.Tensor":
        from torch.nn.functional import cross_entropy

        losses = cross_entropy(
            logits.flatten(0, 1), labels.flatten(), weight=weights, ignore_index=IGNORED, reduction="sum"
        )
        return losses / (labels != IGNORED).sum().clamp(min=1)

    def references(self, label_ids: Array) -> list[list[int]]:
        return [row[row != IGNORED].tolist() for row in label_ids]

    def scores(self, logits: Array, label_ids: Array | None = None) -> list[list[int]]:
        """Returns each row's most probable tags, as ids, one for each word."""
        assert label_ids is not None, "only the labels tell which tokens count"
        tags = logits.argmax(axis=-1)  # [rows, tokens]
        return [row[counts].tolist() for row, counts in zip(tags, label_ids != IGNORED, strict=True)]

    def decide(self, scores: Any) -> Any:
        return scores

    def metric_features(self) -> tuple[Any, Any]:
        return List(Value("int64")), List(Value("int64"))

    def default_metrics(self, names: Sequence[str]) -> list[str]:
        if all(map(is_span_tag, names)):
            return ["span_f1", "span_precision", "span_recall", "accuracy"]
        return ["accuracy", "f1_macro", "f1_weighted"]

    def misfit(self, metric: str, names: Sequence[str]) -> str | None:
        unmarked = [name for name in names if not is_span_tag(name)]
        if not unmarked or not metric.startswith("span_"):
            return None
        legal = "a span's tags are O, B-NAME, I-NAME, or begin with S-, E-, L-, U-"
        return f"data.metric: got {metric!r}, but the tag {unmarked[0]!r} marks no span; {legal}"

    def extra_scores(self, predicted: Any, reference: Any, names: Sequence[str]) -> dict[str, float]:
        """Computes the F1 of each entity type, named like `span_f1_PER`."""
        return entity_scores(reference, predicted, names) if all(map(is_span_tag, names)) else {}

    def answers(
        self, logits: Array, rows: Dataset, names: Sequence[str]
    ) -> tuple[list[str], Iterator[list[str]]]:
        """Returns the tags of each row's words, with a space between them."""
        outside = OUTSIDE if OUTSIDE in names else names[0]
        tags = (
            [outside if tag is None else names[tag] for tag in row]
            for row in _of_words(logits.argmax(axis=-1), rows)
        )
        return ["prediction"], ([" ".join(row)] for row in tags)

    def predictions(self, logits: Array, rows: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
        return {"prediction": [tags.split() for (tags,) in self.answers(logits, rows, names)[1]]}

    def probabilities(self, logits: Array, rows: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
        """Returns the probability of each word's tag; None for a word without a token."""
        best = softmax(logits).max(axis=-1)  # [rows, tokens]
        return {"probability": list(_of_words(best, rows))}


def _of_words(values: Array, rows: Dataset) -> Iterator[list[Any]]:
    """Yields, for each row, the value at each word's first token; None for a word without one.

    values: [rows, tokens].
    """
    for row, words, count in zip(values, rows["words"][:], rows["word_count"][:], strict=True):
        of_word = {word: value for value, word in zip(row.tolist(), words, strict=False) if word >= 0}
        yield [of_word.get(word) for word in range(count)]


def _flat(rows: Sequence[Sequence[int]]) -> list[int]:
    return [tag for row in rows for tag in row]
