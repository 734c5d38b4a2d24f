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
from edgepers.train.configuration import Configuration
from edgepers.train.fit import UNCOUNTABLE, fit, over_budget
from edgepers.train.memory import Trained
from edgepers.train.pause import Pause
from edgepers.train.trainer import Recipe, TrainResult, TrainStep, max_tokens_of, train
from edgepers.weightless import Weightless

__all__ = ["fitting", "guard", "learn"]


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
    recipe = Recipe(
        steps=settings.steps, epochs=settings.epochs, batch=settings.batch, learning_rate=settings.learning_rate,
        rank=settings.lora_rank, targets=settings.lora_targets, top=settings.top_layers, rehearsal=settings.rehearsal, seed=settings.seed,
    )  # fmt: skip
    general = _pairs(rehearsal_sets()) if settings.rehearsal else ()
    configuration = fitting(llm, settings, [*pairs, *general])
    if note is not None and configuration is not None:
        note(f"training in {configuration}")
    pause = Pause(settings.busy_bounds, note or (lambda _: None)) if settings.busy_bounds else None
    result = train(
        llm, pairs, made, recipe, general=general, configuration=configuration, checkpoint=checkpoint, told=told, names=names, pause=pause
    )
    replace_folder(made, folder)
    checkpoint.unlink(missing_ok=True)
    return result


def fitting(llm: LanguageModel, settings: Settings, pairs: Sequence[tuple[str, str]]) -> Configuration | None:
    """The fastest configuration in which (question, response) pairs are trained within `--memory`; None where it cannot be counted.

    Raises:
        BudgetError: none fits.
    """
    most = max_tokens_of(llm.parameter_count)
    examples = [llm.example(question, response, most) for question, response in pairs]
    top = settings.top_layers
    trained = Trained(rank=settings.lora_rank, targets=settings.lora_targets, top=top)
    kept_states = sum(len(example.ids) for example in examples) * llm.hidden_size * 2 if top else 0
    lengths = [(example.prompt_tokens, example.response_tokens) for example in examples]
    try:
        found = fit(
            Weightless.like(llm), lengths, trained, int(settings.memory), batch=settings.batch + settings.rehearsal, kept_states=kept_states
        )
    except UNCOUNTABLE:
        return None
    if not found.fits:
        raise over_budget(found.parts, settings)
    return found.configuration


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
