"""Adapters that go on from another one's weights, where a round of edgepers starts afresh."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

from torch import Tensor

from edgepers.model.language_model import LanguageModel

__all__ = ["started_from"]


@contextlib.contextmanager
def started_from(llm: LanguageModel, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Adapters that are started inside begin with these weights, as PEFT saves them; with none, as ever."""
    from peft import set_peft_model_state_dict

    start = llm.start_lora

    def warm(*args: Any) -> Any:
        model = start(*args)
        set_peft_model_state_dict(model, dict(weights))
        return model

    with mock.patch.object(llm, "start_lora", warm) if weights else contextlib.nullcontext():
        yield
