"""Compares `predict` with a `pipeline` of transformers that gets one row at a time, or batches.

    python benchmarks/bench_predict.py [--rows 600] [--rounds 3]

The model is BERT-tiny's size with random weights, rows are pairs of about QNLI's lengths (mean 51 tokens).
Figures are rows/s of predicting alone; models are loaded before. Both sides must answer the same labels.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer, pipeline

WORDS = 3000
CALLS = ("row by row", "pipeline, batches of 32", "finesweep")


def checkpoint(folder: Path) -> Path:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(WORDS))]
    BertTokenizer(vocab={token: place for place, token in enumerate(tokens)}).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(folder)
    return folder


def pairs(count: int) -> list[dict[str, str]]:
    rng = random.Random(0)

    def text(length: int) -> str:
        return " ".join(f"w{rng.randrange(WORDS)}" for _ in range(length))

    return [
        {"text": text(11), "text_pair": text(min(110, max(5, round(rng.lognormvariate(3.5, 0.45)))))}
        for _ in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from finesweep import predict

    rows = pairs(given.rows)
    keys = ["data.text_columns=[text,text_pair]", "model.max_length=128"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = checkpoint(Path(scratch, "model"))
        classify = pipeline("text-classification", model=str(folder), device="cpu")
        predict(folder, rows[:8], keys)  # imports
        seconds: dict[str, list[float]] = {name: [] for name in CALLS}
        for _ in range(given.rounds):
            answers = []
            for name in CALLS:
                began = time.perf_counter()
                if name == "finesweep":
                    answers.append(predict(folder, rows, keys)["prediction"].tolist())
                elif name == "row by row":
                    answers.append([classify(row)["label"] for row in rows])
                else:
                    answers.append([found["label"] for found in classify(rows, batch_size=32)])
                seconds[name].append(time.perf_counter() - began)
            assert answers[0] == answers[1] == answers[2]
    rates = {name: statistics.median(given.rows / one for one in took) for name, took in seconds.items()}
    ratio = rates["finesweep"] / rates["row by row"]
    print(json.dumps({name: round(rate) for name, rate in rates.items()} | {"ratio": round(ratio, 1)}))


if __name__ == "__main__":
    main()
