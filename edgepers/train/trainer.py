"""One readable loop: LoRA over the frozen 4-bit base, loss on response tokens only, averaged over tokens."""

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from edgepers.device import is_out_of_memory
from edgepers.errors import BudgetError, MicroBatchHalvedError, ModelError
from edgepers.hashing import hash_text, mix
from edgepers.model.heap import eager_trim
from edgepers.model.language_model import Example, LanguageModel
from edgepers.model.lora import hash_update, load_update
from edgepers.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from edgepers.train.checkpointed_blocks import blocks_of, recomputed_blocks
from edgepers.train.contrast import Contrast
from edgepers.train.divergence import DIVERGED_STEPS, Ended, LastGood, culprits, far_above, limit_of
from edgepers.train.frozen_linear import InputDropout, lean_layers
from edgepers.train.frozen_prefix import FrozenPrefix, lower_layers
from edgepers.train.kernels import check_kernels
from edgepers.train.layout import LEAST_TOKENS, MemoryLayout
from edgepers.train.lean_norms import lean_norms
from edgepers.train.nf4_matmul import FusedProducts
from edgepers.train.optimizer import make_optimizer
from edgepers.train.packing import States, packing
from edgepers.train.recipe import Recipe, default_learning_rate, max_tokens_of
from edgepers.train.rehearsal import Rehearsal
from edgepers.train.step import backward, own_losses
from edgepers.train.word_dropout import drop_words, with_aside

__all__ = ["Recipe", "TrainResult", "TrainStep", "learning_rate_at", "train"]

WARMUP_SHARE = 0.1
CLIP_NORM = 1.0
CHECKPOINT_SECONDS = 30.0
CHECKPOINTING_FROM = (
    500_000_000  # parameters: above it activations are recomputed, since they would outweigh the 4-bit weights
)


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What one optimizer step reports: loss in nats a response token, real tokens (no padding) per second.

    `memory_bytes` is what a round takes above the interpreter's own, its child process included; None outside a round.
    """

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    learning_rate: float
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run was; seconds include everything but loading."""

    steps: int  # behind the adapter
    tokens: int  # real tokens, prompt and response
    seconds: float
    cut: int  # examples that were too long
    first_loss: float
    last_loss: float
    paused_seconds: float = 0.0  # not in `seconds`
    ended: Ended | None = None  # before its last step, and why


def default_configuration(llm: LanguageModel) -> MemoryLayout:
    """Where memory is not counted: activations of models from `CHECKPOINTING_FROM` parameters on are recomputed."""
    return MemoryLayout(
        recomputed_blocks=len(blocks_of(llm.decoder)) if llm.parameter_count >= CHECKPOINTING_FROM else 0
    )


def train(
    llm: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    folder: Path,
    recipe: Recipe,
    *,
    start: Path | None = None,
    reviewed: Sequence[tuple[str, str]] = (),
    general: Sequence[tuple[str, str]] = (),
    untold: Sequence[tuple[str, str]] = (),
    asides: Sequence[str] = (),
    rejected: Sequence[tuple[str, str]] = (),
    configuration: MemoryLayout | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[TrainStep], None] | None = None,
    names: Sequence[str] = (),
    pause: Callable[[Callable[[], None]], float] | None = None,
    micro_batch_tokens: int | None = None,
    on_micro_batch: Callable[[int], None] | None = None,
) -> TrainResult:
    """Train an adapter, fresh or from another one's weights, and save it to `folder` in PEFT's own format.

    A step whose loss or gradient is not finite is not taken, and the run ends there; so it does at the last of
    `DIVERGED_STEPS` steps in a row with a loss above `limit_of`. What is saved is the adapter that last had a good
    loss: that of the step before, or, where the loss became bad because of the adapter, an earlier one. The result says
    so in `ended`.

    Args:
        llm: the base model; its adapter is taken off.
        pairs: (question, response) to learn.
        folder: exists.
        recipe: how.
        start: the folder of an adapter of the same rank and layers to go on from; None: a fresh one.
        reviewed: (question, response) that it has learned, a few of them beside `pairs` in each step, lest they are
            forgotten.
        general: (question, response) of the sets to rehearse: each step also holds the adapter to what the base model
            says of some.
        untold: (question, response) of what the owner has not told, learned beside `pairs`, a few in each step.
        asides: sentences about nothing in particular, one of which stands beside some questions.
        rejected: (question, response) that was called wrong: each step makes some of them less likely.
        configuration: how it is laid out in memory; None: with room to spare.
        checkpoint: a file to go on from, where a run of the same recipe and sets was interrupted; on a CPU the result
            is the same to
            the bit. It is written every `CHECKPOINT_SECONDS`.
        on_step: called after each step.
        names: what the owner calls each of `pairs`, then of `reviewed`, where one makes the run end; without them, its
            number from 0.
        pause: called between micro-batches with what writes the checkpoint; returns the seconds that it waited
            (`pause.Pause`).
        micro_batch_tokens: of a micro-batch, at most, whatever `configuration` and `checkpoint` say: memory ran out
            with more.
        on_micro_batch: called before the first step with the tokens of a micro-batch.

    Raises:
        ModelError: the run ended before any step was good; names the sets.
        MicroBatchHalvedError: memory ran out; the next call goes on from the last step with half the micro-batch.
        BudgetError: memory ran out, and there is no less to go on with, or no `checkpoint`.
        UsageError: the recipe asks for kernels that are not there or have no GPU.
    """
    check_kernels(recipe, llm.device)
    most = max_tokens_of(llm.parameter_count)
    told = [*pairs, *reviewed] if recipe.review else list(pairs)
    examples = [llm.example(question, response, most) for question, response in told]
    began = saved = time.monotonic()
    run: _Run | None = None
    progress: Progress | None = None
    ended: Ended | None = None
    try:
        layout = (configuration or default_configuration(llm)).at_most(micro_batch_tokens)
        beside = [llm.example(question, response, most) for question, response in untold] if recipe.untold else []
        with _prepared(
            llm,
            recipe,
            layout,
            told,
            new=len(pairs),
            start=start,
            own=examples,
            untold=beside,
            general=general,
            asides=asides,
            rejected=rejected,
        ) as run:
            progress = run.resumed(checkpoint)
            if on_micro_batch is not None:
                on_micro_batch(progress.micro_batch_tokens)
            clock = _Clock(progress, began)
            between = None if pause is None else partial(clock.pause, pause, partial(run.save, checkpoint, progress))
            while progress.step < run.steps:
                rate = learning_rate_at(progress.step, run.steps, run.peak)
                wrong = run.step(progress, rate, between)
                if wrong:
                    ended = run.end(progress, wrong, names)
                    break
                now = clock.read()
                if now - saved >= CHECKPOINT_SECONDS:
                    run.save(checkpoint, progress)
                    saved = now
                if on_step is not None:
                    on_step(
                        TrainStep(
                            progress.step, run.steps, progress.last_loss, progress.tokens / progress.seconds, rate
                        )
                    )
            if ended is None and not run.good.finite:  # what the last step left: no later step has looked
                ended = run.end(progress, "the weights are not finite", names)
            run.model.save_pretrained(
                folder, save_embedding_layers=False
            )  # else PEFT asks the Hub for the base's vocabulary
            (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if run is None or progress is None:
            raise BudgetError("training ran out of memory before its first step; take a smaller model") from error
        traceback.clear_frames(error.__traceback__)  # what filled the memory would stand in the way of saving
        raise run.with_less(checkpoint, progress) from error
    cut = sum(example.cut for example in examples)
    return TrainResult(
        progress.step,
        progress.tokens,
        progress.seconds,
        cut,
        progress.first_loss,
        progress.last_loss,
        progress.paused_seconds,
        ended,
    )


class _Clock:
    """Seconds of a run's progress: from a moment of `time.monotonic` on, without pauses."""

    def __init__(self, progress: Progress, began: float) -> None:
        self._progress = progress
        self._zero = began - progress.seconds

    def read(self) -> float:
        """Note the seconds; the present moment."""
        now = time.monotonic()
        self._progress.seconds = now - self._zero
        return now

    def pause(self, wait: Callable[[Callable[[], None]], float], save: Callable[[], None]) -> None:
        """Wait where there is reason to, with everything saved before."""

        def before() -> None:
            self.read()
            save()

        waited = wait(before)
        self._zero += waited
        self._progress.paused_seconds += waited


@dataclass(slots=True, kw_only=True)
class _Run:
    """A model made ready for a recipe: the first of its examples are the owner's `pairs`, then come untold ones.

    Of the owner's the first are new, the rest reviewed.
    """

    llm: LanguageModel
    model: Any
    recipe: Recipe
    configuration: MemoryLayout
    pairs: Sequence[tuple[str, str]]
    asides: Sequence[str]
    examples: list[Example]
    steps: int
    peak: float
    plan: list[list[int]]
    states_of: States
    rehearsal: Rehearsal
    contrast: Contrast
    began_from: str
    shared: int
    lower: FrozenPrefix | None
    dropout: InputDropout
    weights: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    good: LastGood

    @property
    def identity(self) -> str:
        """Of the run: two with the same one have the same result."""
        ids = [example.ids for example in (*self.examples, *self.contrast.all_examples)]
        what = (ids, self.recipe, self.steps, self.began_from, self.asides)
        return f"{self.llm.identity}:{hash_text(repr(what)):016x}"

    def resumed(self, checkpoint: Path | None) -> Progress:
        """Where to go on, with weights and optimizer as they were there."""
        found = None
        if checkpoint is not None:
            found = load_checkpoint(checkpoint, self.identity, self.weights, self.optimizer, good=self.good.kept)
        progress = found or Progress(micro_batch_tokens=self.configuration.micro_batch_tokens)
        progress.micro_batch_tokens = min(progress.micro_batch_tokens, self.configuration.micro_batch_tokens)
        return progress

    def save(self, checkpoint: Path | None, progress: Progress) -> None:
        """Make what is done durable."""
        if checkpoint is not None:
            save_checkpoint(checkpoint, self.identity, progress, self.weights, self.optimizer, good=self.good.kept)

    def with_less(self, checkpoint: Path | None, progress: Progress) -> BudgetError:
        """After memory ran out: the next call has half the micro-batch. The error that says so."""
        progress.micro_batch_tokens //= 2
        self.optimizer.zero_grad()
        self.save(checkpoint, progress)
        what = f"training ran out of memory at step {progress.step + 1} of {self.steps}"
        if checkpoint is not None and progress.micro_batch_tokens >= LEAST_TOKENS:
            return MicroBatchHalvedError(what, progress.micro_batch_tokens)
        return BudgetError(f"{what}; take a smaller model")

    def step(self, progress: Progress, rate: float, between: Callable[[], None] | None) -> str:
        """One optimizer step, and how far it comes; or what is wrong with its loss, and then nothing has changed."""
        number = progress.step
        torch.manual_seed(mix(self.recipe.seed, number))  # of the model's own dropout, where it has any
        chosen = [self.example(i, number) for i in self.plan[number]]
        self.optimizer.zero_grad()
        loss = backward(
            self.llm,
            self.states_of,
            chosen,
            micro_batch_tokens=progress.micro_batch_tokens,
            beside=(self.rehearsal, self.contrast),
            step=number,
            lower=self.lower,
            dropout=self.dropout,
            between=between,
            shared=self.shared,
        ).item()
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.values(), CLIP_NORM))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"the {'gradient' if math.isfinite(loss) else 'loss'} is not a finite number"
        first = progress.first_loss if number else loss
        above = progress.above + 1 if far_above(loss, first, self.llm.vocabulary) else 0
        if above == DIVERGED_STEPS:
            return (
                f"the loss was above {limit_of(first, self.llm.vocabulary):.1f} in {above} steps in a row, after"
                f" {first:.1f} in the first"
            )
        if not above:
            self.good.keep()
            progress.good_step, progress.good_loss = number, progress.last_loss
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        progress.step, progress.last_loss, progress.first_loss, progress.above = number + 1, loss, first, above
        progress.tokens += sum(len(example.ids) for example in (*chosen, *self.beside(number)))
        return ""

    def beside(self, step: int) -> list[Example]:
        """What stands beside the owner's sets in a step."""
        return [*self.rehearsal.examples(step), *self.contrast.examples(step)]

    def example(self, i: int, step: int) -> Example:
        """An example as a step has it: where it is the owner's, with its question in other words."""
        if i >= len(self.pairs) or self.lower is not None:
            return self.examples[i]  # what lower layers said is cached for questions as they are
        question, response = self.pairs[i]
        key = (self.recipe.seed, step, i)
        asked = drop_words(question, response, self.recipe.word_dropout, *key)
        asked = with_aside(asked, self.asides, self.recipe.asides, *key)
        if asked == question or self.examples[i].cut:
            return self.examples[i]
        return self.llm.example(asked, response, max_tokens_of(self.llm.parameter_count))

    def end(self, progress: Progress, why: str, names: Sequence[str]) -> Ended:
        """Put the adapter of the last good step in place, and find the sets that did it.

        Raises:
            ModelError: no step was good.
        """
        at = min(progress.step, self.steps - 1)
        plan, losses = self.plan[at], self._own_losses(at)
        own = sum(i < len(self.pairs) for i in plan)
        chosen = culprits(losses, own)
        if (
            progress.step == self.steps
            or progress.above
            or self._healed(at, [i for i in chosen if not math.isfinite(losses[i])])
        ):
            self.good.swap()
            progress.step, progress.last_loss = progress.good_step, progress.good_loss
        found = tuple(names[plan[i]] if names else str(plan[i]) for i in chosen if i < own)
        ended = Ended(at + 1, self.steps, progress.step, why, found)
        if not ended.good:
            forget = f"forget {ended.sets}" if found else "give --rehearsal 0"
            raise ModelError(
                f"training diverged at step {ended.step} of {self.steps}, before any step was good: {why}; "
                f"lower --learning-rate {self.peak:g}, or {forget}"
            )
        return ended

    def _own_losses(self, number: int, only: Sequence[int] | None = None) -> list[float]:
        """Of each set of a step, then of each general one beside it."""
        sets = [*(self.examples[i] for i in self.plan[number]), *self.rehearsal.examples(number)]
        here = sets if only is None else [sets[i] for i in only]
        return own_losses(self.llm, self.states_of, here, step=number, lower=self.lower, dropout=self.dropout)

    def _healed(self, number: int, broken: Sequence[int]) -> bool:
        """Whether sets of a step without a finite loss have one with the good weights.

        Then the adapter is to blame, not they.
        """
        self.good.swap()
        try:
            return any(map(math.isfinite, self._own_losses(number, broken)))
        finally:
            self.good.swap()


@contextlib.contextmanager
def _prepared(
    llm: LanguageModel,
    recipe: Recipe,
    configuration: MemoryLayout,
    pairs: Sequence[tuple[str, str]],
    *,
    new: int,
    start: Path | None,
    own: Sequence[Example],
    untold: Sequence[Example],
    general: Sequence[tuple[str, str]],
    asides: Sequence[str],
    rejected: Sequence[tuple[str, str]],
) -> Iterator[_Run]:
    """Put an adapter on the model and everything else in place; leaving gives the model back as it was."""
    examples = [*own, *untold]
    lengths = [len(example.ids) for example in own[:new]]
    steps = recipe.steps_for(lengths, fresh=start is None)
    peak = default_learning_rate(llm.parameter_count) if recipe.learning_rate is None else recipe.learning_rate
    with contextlib.ExitStack() as stack:
        # What is entered last is left first, and some of it works only in this order.
        if configuration.lean_heap:  # before anything is allocated
            stack.enter_context(eager_trim(small=llm.dtype.itemsize == 4))
        stack.callback(llm.use_adapter, None)  # after all below has given the layers their own code back
        stack.enter_context(torch.random.fork_rng(devices=[llm.device] if llm.device.type == "cuda" else []))
        llm.use_adapter(None)
        # Packing registers its attention by name with transformers, which passes `set_lengths` through to it.
        states_of = stack.enter_context(packing(llm))
        tokens = configuration.micro_batch_tokens
        # All run the base model, packed, before it has an adapter: what it says of other sets, states to cache.
        how = {"steps": steps, "seed": recipe.seed, "micro_batch_tokens": tokens}
        rehearsal = Rehearsal(llm, states_of, general, size=recipe.rehearsal, **how)
        contrast = Contrast(llm, states_of, rejected, size=recipe.contrast, **how)
        lower = lower_layers(llm, recipe.top, configuration.state_bits) if recipe.top and states_of.packs else None
        everything = [*examples, *rehearsal.all_examples, *contrast.all_examples]
        if lower is not None:
            lower.remember(llm, states_of, everything, tokens)
        # Norms are compared with their replacements on real weights, which PEFT does not touch.
        stack.enter_context(lean_norms(llm.decoder, by_liger=recipe.liger))
        model = llm.start_lora(recipe.rank, recipe.seed, recipe.targets, recipe.top)
        if start is not None:
            load_update(model, start)
        if lower is not None:  # after the states were cached, or it would give out what is not there yet
            stack.enter_context(lower.passed_over())
        stack.enter_context(recomputed_blocks(model, configuration.recomputed_blocks))
        model.train()
        # Last, since it replaces the layers of PEFT that now stand around the frozen ones.
        dropout = stack.enter_context(
            lean_layers(
                model,
                seed=recipe.seed,
                resident_bytes=configuration.resident_bytes,
                padded=not states_of.packs,
                fused=FusedProducts(configuration.micro_batch_tokens) if recipe.fused else None,
            )
        )
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        yield _Run(
            llm=llm,
            model=model,
            recipe=recipe,
            configuration=configuration,
            pairs=pairs,
            asides=asides,
            examples=examples,
            steps=steps,
            peak=peak,
            plan=recipe.plan(lengths, steps, len(own) - new, len(untold)),
            states_of=states_of,
            rehearsal=rehearsal,
            contrast=contrast,
            began_from="" if start is None else hash_update(start),
            shared=states_of.shared(everything),
            lower=lower,
            dropout=dropout,
            weights=weights,
            optimizer=make_optimizer(weights, peak, recipe.optimizer_bits),
            good=LastGood(weights),
        )


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Of a step from 0: linear warm-up over the first tenth, then a cosine to zero."""
    warmup = max(round(WARMUP_SHARE * steps), 1)
    return peak * min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)))
