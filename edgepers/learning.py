"""What a round makes of annotated sets: an adapter, and a verdict on it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from edgepers.assets import general_sets, rehearsal_sets
from edgepers.config import Settings
from edgepers.dialogue import read_dialogue_sets
from edgepers.evaluate.guard import Verdict, default_perplexity_rise, judge, perplexity_rise
from edgepers.files import replace_folder
from edgepers.llm import LanguageModel
from edgepers.select.records import KeptSet
from edgepers.state import CHECKPOINT
from edgepers.train.pause import Pause
from edgepers.train.trainer import Recipe, TrainResult, TrainStep, train

__all__ = ["guard", "learn"]


def learn(
    llm: LanguageModel,
    settings: Settings,
    pairs: Sequence[tuple[str, str]],
    folder: Path,
    told: Callable[[TrainStep], None],
    *,
    names: Sequence[str] = (),
    note: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train an adapter on (question, response) pairs; its folder appears when it is whole. Interrupted, it goes on from its checkpoint.

    `names` and what is raised: as for `train`. `note` is told of pauses.
    """
    made = folder.with_name(".training")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    checkpoint = folder.parent / CHECKPOINT
    recipe = Recipe(
        steps=settings.steps, epochs=settings.epochs, batch=settings.batch, learning_rate=settings.learning_rate,
        rank=settings.lora_rank, targets=settings.lora_targets, top=settings.top_layers, rehearsal=settings.rehearsal, seed=settings.seed,
    )  # fmt: skip
    general = _pairs(rehearsal_sets()) if settings.rehearsal else ()
    pause = Pause(settings.busy_bounds, note or (lambda _: None)) if settings.busy_bounds else None
    result = train(llm, pairs, made, recipe, general=general, checkpoint=checkpoint, told=told, names=names, pause=pause)
    replace_folder(made, folder)
    checkpoint.unlink(missing_ok=True)
    return result


def guard(llm: LanguageModel, settings: Settings, reserve: Sequence[KeptSet], published: Path | None, new: Path | None) -> Verdict:
    """Measure a new adapter beside the published one (None: the base model) on the reserve, and beside the base model on general sets."""
    if not settings.guard:
        return Verdict(True, "guard off", None, None)
    own = [(kept.question, kept.wanted) for kept in reserve]
    general = _pairs(general_sets())
    llm.use_adapter(published)
    before, base = llm.losses(own), llm.losses(general, adapter=False)
    llm.use_adapter(new)
    rise = perplexity_rise(base, llm.losses(general))
    most = settings.guard_perplexity or default_perplexity_rise(llm.parameter_count)
    return judge(before, llm.losses(own), rise, most)


def _pairs(path: Path) -> list[tuple[str, str]]:
    return [(dialogue.question, dialogue.reference or "") for dialogue in read_dialogue_sets(path, need_reference=True)]
