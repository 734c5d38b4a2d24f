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
from edgepers.state.folder import UPSTREAM_ADAPTER, UPSTREAM_RECORD
from edgepers.upstream.api import ANSWER_SECONDS
from edgepers.upstream.find import find_upstream
from edgepers.upstream.judge import judge_served
from edgepers.upstream.llama_cpp import make_lora_file
from edgepers.upstream.publisher import Publisher
from edgepers.upstream.server import Upstream

__all__ = ["publisher_for", "unload_there"]

UNLOAD_SECONDS = 5.0  # of silence, before a round begins all the same


def publisher_for(owner: Personalizer, options: ServeOptions, log: Callable[[str], None]) -> Publisher:
    """What keeps the options' upstream at what is published over a state."""
    state, buffer = owner.state, owner.buffer
    try:
        make_lora_file(_lora(owner, options), lambda: config_of(owner.settings.model), _work(owner))
    except (EdgepersError, OSError) as error:  # of an upstream that needs none it does not matter
        log(f"no adapter for llama.cpp to start with: {first_line(error)}")

    def folder_of(name: str) -> Path | None:
        found = state.adapter_folder(name)
        return found if found is not None and found.is_dir() else None

    return Publisher(
        lambda: _find(owner, options),
        upstream=f"{str(options.upstream).rstrip('/')} {options.upstream_model}",
        wanted=lambda: buffer.progress.published,
        folder_of=folder_of,
        judge=lambda upstream, adapter, stopped: _judge(owner, upstream, adapter, stopped),
        file=state.upstream / UPSTREAM_RECORD,
        log=log,
    )


def unload_there(owner: Personalizer, options: ServeOptions, log: Callable[[str], None]) -> None:
    """Ask the upstream to give its memory back before a round; one that does not is told of, and the round goes on."""
    try:
        with contextlib.closing(_find(owner, options, UNLOAD_SECONDS)) as upstream:
            upstream.unload()
    except (EdgepersError, OSError) as error:
        log(f"the upstream keeps its memory during the round: {first_line(error)}")


def _lora(owner: Personalizer, options: ServeOptions) -> Path:
    return Path(options.upstream_lora or owner.state.upstream / UPSTREAM_ADAPTER).expanduser().absolute()


def _work(owner: Personalizer) -> Path:
    return owner.state.upstream / ".made"


def _find(owner: Personalizer, options: ServeOptions, seconds: float = ANSWER_SECONDS) -> Upstream:
    model = owner.settings.model

    @cache
    def config() -> Any:
        return config_of(model)

    return find_upstream(
        str(options.upstream),
        str(options.upstream_model),
        base=model,
        config=config,
        lora=_lora(owner, options),
        restart=options.upstream_restart or "",
        work=_work(owner),
        seconds=seconds,
    )


def _judge(owner: Personalizer, upstream: Upstream, adapter: str, stopped: Callable[[], bool]) -> Verdict:
    settings = owner.settings
    if not settings.guard:
        return Verdict(True, "guard off", None, None)
    with owner.buffer.lock:
        rounds = owner.state.round_reports(owner.buffer.progress.rounds)
        trained_on = next((one["trained_on"] for one in rounds if one["adapter"] == adapter), None)
        asked = TrainingData.of(owner.state, owner.buffer).asked(owner.buffer, trained_on)
    shapes = ModelShapes(config_of(settings.model), bits=settings.bits, on_cpu=True)
    return judge_served(upstream, asked, Limits.of(settings, shapes.parameter_count), stopped)
