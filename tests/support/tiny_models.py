"""Makes folders with tiny models of random weights, with tokenizers trained offline."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from finesweep.data.demo import Demo

HEAD = {"num_labels": 2}
# The sizes of each architecture, by the name of its config class without `Config`.
SIZES: dict[str, dict[str, Any]] = {
    "Bert": dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16),
    "Roberta": dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                    max_position_embeddings=34, type_vocab_size=1),
    "GPT2": dict(n_embd=16, n_layer=1, n_head=2, n_positions=64),
    "Llama": dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                  max_position_embeddings=64),
    "XLNet": dict(d_model=16, n_layer=1, n_head=2, d_inner=16),
    "T5": dict(d_model=16, num_layers=1, num_heads=2, d_ff=16, d_kv=8, decoder_start_token_id=0),
    "DistilBert": dict(dim=16, n_layers=1, n_heads=2, hidden_dim=16),
    "Albert": dict(embedding_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                   intermediate_size=16),
    "DebertaV2": dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                      relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "Bart": dict(d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                 decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
                 max_position_embeddings=64),
}  # fmt: skip
DECODERS = ("GPT2", "Llama")


def save_model(folder: Path, architecture: str, **changes: Any) -> Path:
    """Saves weights, and a tokenizer that has learned from the demo's rows. `changes` win over the sizes."""
    tokenizer = make_tokenizer(architecture)
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id,
             "eos_token_id": tokenizer.eos_token_id}  # fmt: skip
    config = getattr(transformers, f"{architecture}Config")(**(sizes | SIZES[architecture] | HEAD | changes))
    torch.manual_seed(0)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(architecture: str) -> PreTrainedTokenizerFast:
    """Trains a WordPiece tokenizer. That of a decoder adds no special tokens, and has none for padding."""
    names = {"unk_token": "[UNK]"}
    if architecture not in DECODERS:
        names |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    names["eos_token"] = "</s>"
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learned.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=[*names.values()], show_progress=False)
    rows = Demo(200).read("train", labelled=False)
    learned.train_from_iterator([*rows["question"], *rows["sentence"]], trainer)
    ids = learned.get_vocab()
    if architecture in ("T5", "Bart"):
        learned.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", ids["</s>"])]
        )
    elif architecture not in DECODERS:
        learned.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=learned, model_input_names=inputs, **names)
