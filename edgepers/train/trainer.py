"""One readable loop: LoRA over the frozen 4-bit base, loss on response tokens only, averaged over tokens."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgepers.device import is_out_of_memory
from edgepers.errors import BudgetError, ModelError
from edgepers.llm import Example, LanguageModel
from edgepers.train.batching import batches
from edgepers.train.frozen import lean_layers
from edgepers.train.loss import cross_entropy, head_loss
from edgepers.train.packing import Packed, bins, pack, packing
from edgepers.train.rehearsal import Rehearsal

__all__ = ["TrainResult", "TrainStep", "default_learning_rate", "max_tokens_of", "train"]

WARMUP_SHARE = 0.1
CLIP_NORM = 1.0
MICRO_BATCH_TOKENS = 1024  # tokens in one forward and backward pass
CHECKPOINTING_FROM = 500_000_000  # parameters: above it activations are recomputed, since they would outweigh the 4-bit weights


def _backward(
    llm: LanguageModel, states_of: Callable[[Packed], Tensor], examples: Sequence[Example], kept: Rehearsal | None = None, step: int = 0
) -> float:
    """Add the gradient of the loss averaged over all response tokens, and of what is rehearsed; the first of them, in nats a token."""
    general = kept.examples(step) if kept is not None else []
    own = len(examples)
    weight = 1 / sum(example.response_tokens for example in examples)
    everything = [*examples, *general]
    total = 0.0
    for group in bins([len(example.ids) for example in everything], MICRO_BATCH_TOKENS):
        chosen = sorted(group)  # one's own first
        packed = pack([everything[i] for i in chosen], llm.device)
        states = states_of(packed)
        rows = sum(examples[i].response_tokens for i in chosen if i < own)
        loss = head_loss(states[:rows], llm.head, cross_entropy(packed.targets[:rows], weight), llm.vocabulary)
        total += loss.item()
        if kept is not None and chosen[-1] >= own:
            divergence = kept.loss(step, [i - own for i in chosen if i >= own])
            loss = loss + head_loss(states[rows:], llm.head, divergence, llm.vocabulary)
        loss.backward()
    return total


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What one optimizer step reports: loss in nats a response token, real tokens (no padding) per second."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run was; seconds include everything but loading."""

    steps: int
    tokens: int  # real tokens, prompt and response
    seconds: float
    cut: int  # examples that were too long
    first_loss: float
    last_loss: float


def default_learning_rate(parameters: int) -> float:
    """Peak learning rate by the model's size; chosen on development data for the packaged model, customary above it."""
    for below, rate in ((50_000_000, 2e-3), (500_000_000, 5e-4), (2_000_000_000, 3e-4)):
        if parameters < below:
            return rate
    return 2e-4


def max_tokens_of(parameters: int) -> int:
    """Tokens of one training set, at most: the packaged model was pre-trained on 256."""
    return 256 if parameters < 50_000_000 else 512


def train(
    llm: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    folder: Path,
    *,
    steps: int,
    epochs: int = 0,
    batch: int,
    learning_rate: float,
    rank: int,
    targets: str = "attention",
    seed: int,
    general: Sequence[tuple[str, str]] = (),
    rehearsal: int = 0,
    told: Callable[[TrainStep], None] | None = None,
) -> TrainResult:
    """Train a fresh adapter on (question, response) pairs and save it to `folder` in PEFT's own format.

    Each step also holds the adapter to the base model's own predictions on `rehearsal` of the `general` sets.

    Raises:
        ModelError: the loss stopped being a number.
        BudgetError: memory ran out.
    """
    parameters = llm.parameter_count
    examples = [llm.example(question, response, max_tokens_of(parameters)) for question, response in pairs]
    if epochs:
        steps = epochs * math.ceil(len(examples) / min(batch, len(examples)))
    peak = learning_rate or default_learning_rate(parameters)
    began = time.monotonic()
    stack = contextlib.ExitStack()
    try:
        llm.use_adapter(None)
        states_of = stack.enter_context(packing(llm))
        kept = Rehearsal(llm, states_of, general, size=rehearsal, steps=steps, seed=seed)
        model = llm.start_lora(rank, seed, targets)
        if parameters >= CHECKPOINTING_FROM:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        dropout = stack.enter_context(lean_layers(model))
        model.train()
        weights = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=peak, weight_decay=0.0)
        warmup = max(round(WARMUP_SHARE * steps), 1)
        tokens, losses = 0, []
        with torch.random.fork_rng(devices=[llm.device] if llm.device.type == "cuda" else []):
            torch.manual_seed(seed)  # dropout
            for step, chosen in enumerate(batches(len(examples), batch, steps, seed), 1):
                rate = peak * min(step / warmup, 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)))
                dropout.draw()
                for group in optimizer.param_groups:
                    group["lr"] = rate
                step_loss = _backward(llm, states_of, [examples[i] for i in chosen], kept, step - 1)
                torch.nn.utils.clip_grad_norm_(weights, CLIP_NORM)
                optimizer.step()
                optimizer.zero_grad()
                tokens += sum(len(example.ids) for example in (*(examples[i] for i in chosen), *kept.examples(step - 1)))
                losses.append(step_loss)
                if not math.isfinite(losses[-1]):
                    raise ModelError(f"training diverged at step {step} of {steps} (loss {losses[-1]}); lower --learning-rate {peak:g}")
                if told is not None:
                    told(TrainStep(step, steps, losses[-1], tokens / (time.monotonic() - began), rate))
        model.save_pretrained(folder, save_embedding_layers=False)  # else PEFT asks the Hub for the base's vocabulary
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BudgetError(f"training ran out of memory with --batch {batch}; halve it, or take a smaller model") from error
        raise
    finally:
        stack.close()
        llm.use_adapter(None)
    return TrainResult(steps, tokens, time.monotonic() - began, sum(example.cut for example in examples), losses[0], losses[-1])
