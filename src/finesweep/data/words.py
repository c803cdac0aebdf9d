"""Makes the columns of encoded rows. A word's tag is the label of its first token (word piece)."""

from typing import Any

import pyarrow as pa

from finesweep.tasks.tokens import IGNORED

_TYPES = {"input_ids": pa.int32(), "token_type_ids": pa.int8(), "attention_mask": pa.int8()}


def token_columns(made: Any) -> dict[str, pa.Array]:
    """Makes Arrow columns of a tokenizer's output for a batch, and "length": each row's number of tokens."""
    columns = {name: pa.array(made[name], pa.list_(kind)) for name, kind in _TYPES.items() if name in made}
    columns["length"] = pa.array([len(ids) for ids in made["input_ids"]], pa.int32())
    return columns


def encode_words(
    rows: list[list[str]], tags: pa.Array | None, tokenizer: Any, max_length: int
) -> dict[str, pa.Array]:
    """Encodes rows that are lists of words.

    Besides the columns of `token_columns`, the result has
    "words": for each token, the index of the word that begins with it, else -1;
    "word_count": the number of words of a row, including those that `max_length` cuts off;
    "labels", if there are `tags`: for each token, the tag of the word that begins with it, else `IGNORED`.
    """
    made = tokenizer(rows, is_split_into_words=True, truncation=True, max_length=max_length)
    words = [_first_pieces(made.word_ids(row)) for row in range(len(rows))]
    columns = token_columns(made)
    columns["words"] = pa.array(words, pa.list_(pa.int32()))
    columns["word_count"] = pa.array(list(map(len, rows)), pa.int32())
    if tags is not None:
        labels = [
            [IGNORED if word < 0 else row[word] for word in starts]
            for row, starts in zip(tags.to_pylist(), words, strict=True)
        ]
        columns["labels"] = pa.array(labels, pa.list_(pa.int64()))
    return columns


def _first_pieces(word_ids: list[int | None]) -> list[int]:
    """Returns, for each token, the word that begins with it; -1 for special tokens and later pieces."""
    before = [None, *word_ids]
    return [
        word if word is not None and word != last else -1
        for word, last in zip(word_ids, before, strict=False)
    ]
