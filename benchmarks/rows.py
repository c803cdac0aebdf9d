"""Makes rows as long as GLUE's, of words that follow Zipf's law, with a model and tokenizer for them."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 30522
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {
    "tiny": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512),
    "small": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}
RTE = {"train": 2490, "dev": 277, "test": 3000}
LABELS = ("entailment", "not_entailment")


def qnli_lengths(rng: random.Random, count: int) -> list[int]:
    """Draws lengths in tokens like those of QNLI's pairs: mean 51, 95% under 87."""
    return [min(128, max(16, round(rng.lognormvariate(3.85, 0.42)))) for _ in range(count)]


def rte_lengths(rng: random.Random) -> tuple[int, int]:
    """Draws the lengths of two sentences like RTE's: with three special tokens, mean 70 and at most 289."""
    first, second = rng.lognormvariate(3.78, 0.66), rng.lognormvariate(2.36, 0.4)
    return min(241, max(5, round(first))), min(45, max(3, round(second)))


def tokens(rng: random.Random) -> Iterator[int]:
    """Draws ids of words. As in a text, most of the vocabulary does not occur."""
    while True:
        yield min(VOCABULARY - 1, 1000 + int(rng.paretovariate(0.7)))


def encoded(count: int) -> Any:
    """Returns a Dataset of encoded rows with QNLI's lengths."""
    from datasets import Dataset

    rng = random.Random(0)
    lengths, words = qnli_lengths(rng, count), tokens(rng)
    return Dataset.from_dict(
        {
            "input_ids": [[next(words) for _ in range(length)] for length in lengths],
            "token_type_ids": [[0] * length for length in lengths],
            "attention_mask": [[1] * length for length in lengths],
            "length": lengths,
            "labels": [rng.randrange(2) for _ in lengths],
        }
    )


def text(rng: random.Random, words: Iterator[int], length: int) -> str:
    return " ".join(f"w{next(words)}" for _ in range(length))


def write_rte(folder: Path, share: float = 1.0) -> Path:
    """Writes `folder`/RTE/*.tsv in the form of GLUE's download, as large as RTE or a share of it."""
    (folder / "RTE").mkdir(parents=True)
    rng = random.Random(0)
    words = tokens(rng)
    for split, count in RTE.items():
        lines = ["index\tsentence1\tsentence2" + ("" if split == "test" else "\tlabel")]
        for index in range(round(count * share)):
            cells = [str(index), *(text(rng, words, length) for length in rte_lengths(rng))]
            lines.append("\t".join(cells if split == "test" else [*cells, rng.choice(LABELS)]))
        (folder / "RTE" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def make_model(size: str = "tiny") -> Any:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, **SIZES[size]))


def make_tokenizer() -> Any:
    from transformers import BertTokenizerFast

    words = [*SPECIAL, *(f"w{index}" for index in range(len(SPECIAL), VOCABULARY))]
    return BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}, model_max_length=512)


def write_model(folder: Path) -> Path:
    """Writes a BERT-tiny with random weights and its tokenizer, as from the hub."""
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
