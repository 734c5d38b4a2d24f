"""Shapes that ship: those of the public cards, seen by their numbers of parameters."""

import pytest
from transformers import AutoConfig

from edgepers.errors import ModelError
from edgepers.model.config import config_of, shipped_models
from edgepers.plan.plan import shapes_of

PARAMETERS = {  # as the models' pages on the Hub count them, a tied head once
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1_711_376_384,
    "google/gemma-2-2b-it": 2_614_341_888,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
}


@pytest.fixture(autouse=True)
def _nothing_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("model", PARAMETERS)
def test_a_shipped_model_has_as_many_parameters_as_its_card_says(model):
    llm = shapes_of(model, on_cpu=False)
    assert llm.parameter_count == PARAMETERS[model]
    assert llm.dtype.itemsize == 2


def test_ten_ship_smallest_first_and_nothing_else_is_made_up():
    assert list(shipped_models()) == list(PARAMETERS)
    with pytest.raises(ModelError, match=r"hf download Qwen/Qwen2-0\.5B config\.json"):
        config_of("Qwen/Qwen2-0.5B")


def test_a_name_that_is_not_here_is_told_one_like_it_that_is():
    with pytest.raises(
        ModelError, match=r"config\.json', or give meta-llama/Llama-3\.2-3B-Instruct, whose shapes come with edgepers$"
    ):
        config_of("meta-llama/Llama-3.2-3B")
    with pytest.raises(ModelError, match=r"config\.json'$"):
        config_of("owner/name")


def test_what_is_on_this_machine_comes_first(monkeypatch):
    own = AutoConfig.for_model("qwen2", hidden_size=64)
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *args, **options: own)
    assert config_of("Qwen/Qwen2.5-0.5B-Instruct") is own
