"""What a round makes of annotated sets: an adapter, and a verdict on it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgepers.assets import general_sets, rehearsal_sets
from edgepers.config import Settings, format_size
from edgepers.dialogue import read_dialogue_sets
from edgepers.errors import UncountableError
from edgepers.evaluate.guard import SCALES, Verdict, default_perplexity_rise, judge, perplexity_rise
from edgepers.files import replace_folder
from edgepers.llm import LanguageModel
from edgepers.lora import scale_saved
from edgepers.select.records import KeptSet
from edgepers.state import CHECKPOINT
from edgepers.train.configuration import Configuration
from edgepers.train.fit import fit, over_budget
from edgepers.train.pause import Pause
from edgepers.train.recipe import Recipe, max_tokens_of
from edgepers.train.trainer import TrainResult, TrainStep, train
from edgepers.weightless import Weightless

__all__ = ["fitting", "guard", "learn", "pairs_of"]


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

    `names` and what is raised: as for `train`. `note` is told of pauses, and of the configuration that was chosen.
    """
    made = folder.with_name(".training")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    checkpoint = folder.parent / CHECKPOINT
    recipe = Recipe.of(settings, on_cpu=llm.device.type == "cpu")
    general = pairs_of(rehearsal_sets()) if settings.rehearsal else ()
    told_of = note or (lambda _: None)
    try:
        configuration = fitting(llm, recipe, [*pairs, *general], settings)
        told_of(f"training in {configuration}")
    except UncountableError as error:
        configuration = None
        told_of(f"--memory {format_size(int(settings.memory))} does not bound training: {error}")
    pause = Pause(settings.busy_bounds, told_of) if settings.busy_bounds else None
    result = train(
        llm, pairs, made, recipe, general=general, configuration=configuration, checkpoint=checkpoint, told=told, names=names, pause=pause
    )
    replace_folder(made, folder)
    checkpoint.unlink(missing_ok=True)
    return result


def fitting(llm: LanguageModel, recipe: Recipe, pairs: Sequence[tuple[str, str]], settings: Settings) -> Configuration:
    """The fastest configuration in which (question, response) pairs are trained within `--memory`.

    Raises:
        BudgetError: none fits.
        UncountableError: what it takes cannot be told.
    """
    most = max_tokens_of(llm.parameter_count)
    examples = [llm.example(question, response, most) for question, response in pairs]
    lengths = [(example.prompt_tokens, example.response_tokens) for example in examples]
    found = fit(Weightless.like(llm), lengths, recipe, int(settings.memory))
    if not found.fits:
        raise over_budget(found.parts, settings)
    return found.configuration


def guard(llm: LanguageModel, settings: Settings, reserve: Sequence[KeptSet], published: Path | None, new: Path | None) -> Verdict:
    """Measure a new adapter beside the published one (None: the base model) and the base model on the reserve and on general sets.

    One that is refused whole is scaled down to the largest of `SCALES` that is not, in its folder; if there is none it stays as it is.
    """
    if not settings.guard:
        return Verdict(True, "guard off", None, None)
    own, general = [(kept.question, kept.wanted) for kept in reserve], pairs_of(general_sets())
    llm.use_adapter(published)
    before = llm.losses(own)
    base, general_base = llm.losses(own, adapter=False), llm.losses(general, adapter=False)
    most = settings.guard_perplexity or default_perplexity_rise(llm.parameter_count)

    def judged(scale: float) -> Verdict:
        llm.use_adapter(new, scale=scale)
        verdict = judge(base, before, llm.losses(own), perplexity_rise(general_base, llm.losses(general)), most)
        return replace(verdict, scale=scale)

    whole = judged(1.0)
    if whole.publish or new is None:
        return whole
    in_part = next((verdict for verdict in map(judged, SCALES) if verdict.publish), None)
    if in_part is None:
        return whole
    llm.use_adapter(None)
    scale_saved(new, in_part.scale)
    return in_part


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """(question, reference) of the dialogue sets in a file."""
    return [(dialogue.question, dialogue.reference or "") for dialogue in read_dialogue_sets(path, need_reference=True)]
