"""Translates a run's config into the arguments of transformers' Trainer."""

from pathlib import Path

from transformers import TrainingArguments

from finesweep.config.run import OptimizerConfig, OptimizerName, RunConfig
from finesweep.machine import device

# The Trainer's names of the optimizers. Fused AdamW takes 4 ms for a step, the unfused one 32 to 40
# (BERT-tiny, two AVX2 cores).
OPTIM = {
    OptimizerName.adamw: "adamw_torch_fused",
    OptimizerName.adafactor: "adafactor",
    OptimizerName.sgd: "sgd",
}


def training_arguments(
    config: RunConfig, folder: Path, sampling: str = "group_by_length"
) -> TrainingArguments:
    """Builds the Trainer's arguments. sampling: how rows are grouped into batches, in evaluations too."""
    trainer, optimizer = config.trainer, config.optimizer
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=trainer.num_train_epochs,
        per_device_train_batch_size=trainer.per_device_train_batch_size,
        per_device_eval_batch_size=trainer.per_device_eval_batch_size,
        gradient_accumulation_steps=trainer.gradient_accumulation_steps,
        learning_rate=optimizer.learning_rate,
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.adam_beta1,
        adam_beta2=optimizer.adam_beta2,
        adam_epsilon=optimizer.adam_epsilon,
        warmup_steps=optimizer.warmup_steps,
        lr_scheduler_type=optimizer.lr_scheduler_type,
        max_grad_norm=optimizer.max_grad_norm,
        optim=OPTIM[optimizer.name],
        optim_args=_optim_args(optimizer),
        seed=config.seed,
        train_sampling_strategy=sampling,
        remove_unused_columns=False,  # `ReadyRows` has only the columns that the model takes
        activation_checkpointing=config.model.gradient_checkpointing,
        # With reentry, frozen embeddings would leave the layers above them without gradients.
        activation_checkpointing_kwargs={"use_reentrant": False},
        # The callback decides when to evaluate, save and log.
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,  # `training_step` raises at the first such loss instead
        disable_tqdm=True,
        report_to=[],
        # Frozen layers and poolers have no gradients. And only then are gradients always summed in the same
        # parts, after a resume as well: three or more processes add up each part in an order of its own.
        ddp_find_unused_parameters=True,
        ddp_broadcast_buffers=False,  # they are constants, and those of `OccurringEmbedding` are large
        **device.arguments(trainer),
    )
    arguments._n_gpu = min(arguments._n_gpu, 1)  # the Trainer would spread over all GPUs that it sees
    return arguments


def _optim_args(optimizer: OptimizerConfig) -> str | None:
    return f"momentum={optimizer.momentum}" if optimizer.name is OptimizerName.sgd else None
