"""A state's part in publishing at an upstream: which server, what is wanted there, and what it is judged by."""

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from edgepers.errors import EdgepersError, first_line
from edgepers.evaluate.verdict import Limits, Verdict
from edgepers.model.config import config_of
from edgepers.personalize import Personalizer
from edgepers.plan.shapes import ModelShapes
from edgepers.rounds.training_data import TrainingData
from edgepers.serve.options import ServeOptions
from edgepers.state.folder import UPSTREAM_ADAPTER
from edgepers.upstream.find import find_upstream
from edgepers.upstream.judge import judge_served
from edgepers.upstream.publisher import Publisher
from edgepers.upstream.server import Upstream

__all__ = ["publisher_for", "unload_there"]


def publisher_for(owner: Personalizer, options: ServeOptions, log: Callable[[str], None]) -> Publisher:
    """What keeps the options' upstream at what is published over a state."""
    state, buffer = owner.state, owner.buffer

    def folder_of(name: str) -> Path | None:
        found = state.adapter_folder(name)
        return found if found is not None and found.is_dir() else None

    return Publisher(
        lambda: _find(owner, options),
        upstream=f"{options.upstream} {options.upstream_model}",
        wanted=lambda: buffer.progress.published,
        folder_of=folder_of,
        judge=lambda upstream, adapter: _judge(owner, upstream, adapter),
        file=state.upstream / "served.json",
        log=log,
    )


def unload_there(owner: Personalizer, options: ServeOptions, log: Callable[[str], None]) -> None:
    """Ask the upstream to give its memory back before a round; one that does not is told of, and the round goes on."""
    try:
        with contextlib.closing(_find(owner, options)) as upstream:
            upstream.unload()
    except (EdgepersError, OSError) as error:
        log(f"the upstream keeps its memory during the round: {first_line(error)}")


def _find(owner: Personalizer, options: ServeOptions) -> Upstream:
    folder, model = owner.state.upstream, owner.settings.model

    @cache
    def config() -> Any:
        return config_of(model)

    return find_upstream(
        str(options.upstream),
        str(options.upstream_model),
        base=model,
        config=config,
        lora=Path(options.upstream_lora or folder / UPSTREAM_ADAPTER).expanduser().absolute(),
        restart=options.upstream_restart or "",
        work=folder,
    )


def _judge(owner: Personalizer, upstream: Upstream, adapter: str) -> Verdict:
    settings = owner.settings
    if not settings.guard:
        return Verdict(True, "guard off", None, None)
    with owner.buffer.lock:
        rounds = owner.state.round_reports(owner.buffer.progress.rounds)
        trained_on = next((one["trained_on"] for one in rounds if one["adapter"] == adapter), None)
        asked = TrainingData.of(owner.state, owner.buffer).asked(owner.buffer, trained_on)
    shapes = ModelShapes(config_of(settings.model), bits=settings.bits, on_cpu=True)
    return judge_served(upstream, asked, Limits.of(settings, shapes.parameter_count))
