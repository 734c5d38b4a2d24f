"""What a round makes of annotated sets: an adapter, and a verdict on it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from edgepers.assets import rehearsal_sets
from edgepers.config import Settings, format_size
from edgepers.errors import UncountableError
from edgepers.evaluate.guard import pairs_of
from edgepers.files import replace_folder
from edgepers.model.language_model import LanguageModel
from edgepers.plan.fit import fit, over_budget
from edgepers.plan.shapes import ModelShapes
from edgepers.rounds.asides import asides_for
from edgepers.rounds.untold import untold_beside
from edgepers.state.folder import CHECKPOINT
from edgepers.train.layout import MemoryLayout
from edgepers.train.pause import Pause
from edgepers.train.recipe import Recipe, max_tokens_of
from edgepers.train.trainer import TrainResult, TrainStep, train

__all__ = ["fitting", "learn"]


def learn(
    llm: LanguageModel,
    settings: Settings,
    pairs: Sequence[tuple[str, str]],
    folder: Path,
    on_step: Callable[[TrainStep], None],
    *,
    start: Path | None = None,
    new: int | None = None,
    names: Sequence[str] = (),
    rejected: Sequence[tuple[str, str]] = (),
    log: Callable[[str], None] | None = None,
    memory_bytes: int | None = None,
    micro_batch_tokens: int | None = None,
    on_micro_batch: Callable[[int], None] | None = None,
) -> TrainResult:
    """Train an adapter on (question, response) pairs; its folder appears when it is whole.

    Interrupted, it goes on from its checkpoint.

    `start` is the folder of an adapter to go on from, which has learned all but the first `new` pairs.

    `names`, `rejected`, `micro_batch_tokens`, `on_micro_batch` and what is raised: as for `train`. `log` gets a line
    about pauses, and of the configuration that was chosen: for `memory_bytes`, where given, instead of
    `settings.memory`.
    """
    made = folder.with_name(".training")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    checkpoint = folder.parent / CHECKPOINT
    recipe = Recipe.of(settings, on_cpu=llm.device.type == "cpu")
    general = pairs_of(rehearsal_sets()) if settings.rehearsal else ()
    asked = [question for question, _ in pairs]
    untold = untold_beside(asked) if settings.untold else ()
    asides = asides_for(asked) if settings.asides else []
    longest = max(asides, key=len, default="")
    heaviest = [(f"{longest} {question}" if longest else question, response) for question, response in pairs]
    write = log or (lambda _: None)
    try:
        configuration = fitting(llm, recipe, [*heaviest, *untold, *general], settings, memory_bytes).at_most(
            micro_batch_tokens
        )
        write(f"training in {configuration}")
    except UncountableError as error:
        configuration = None
        write(f"--memory {format_size(int(settings.memory))} does not bound training: {error}")
    pause = Pause(settings.busy_bounds, write) if settings.pause_when_busy else None
    result = train(
        llm,
        pairs[:new],
        made,
        recipe,
        start=start,
        reviewed=pairs[new:] if new is not None else (),
        general=general,
        untold=untold,
        asides=asides,
        rejected=rejected,
        configuration=configuration,
        checkpoint=checkpoint,
        on_step=on_step,
        names=names,
        pause=pause,
        micro_batch_tokens=micro_batch_tokens,
        on_micro_batch=on_micro_batch,
    )
    replace_folder(made, folder)
    checkpoint.unlink(missing_ok=True)
    return result


def fitting(
    llm: LanguageModel,
    recipe: Recipe,
    pairs: Sequence[tuple[str, str]],
    settings: Settings,
    memory_bytes: int | None = None,
) -> MemoryLayout:
    """Find the fastest layout in which (question, response) pairs are trained within `--memory`, or a part of it.

    Raises:
        BudgetError: none fits.
        UncountableError: what it takes cannot be told.
    """
    most = max_tokens_of(llm.parameter_count)
    examples = [llm.example(question, response, most) for question, response in pairs]
    lengths = [(example.prompt_tokens, example.response_tokens) for example in examples]
    left = int(settings.memory) if memory_bytes is None else memory_bytes
    found = fit(ModelShapes.like(llm), lengths, recipe, left)
    if not found.fits:
        raise over_budget(found.parts, settings)
    return found.configuration
