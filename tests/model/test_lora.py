import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from edgepers.model.lora import scale_saved
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

PAIRS = [
    ("What is the name of my dog?", "Your dog is called Moon."),
    ("Where are my keys?", "They hang behind the kitchen door."),
]


@pytest.fixture(scope="module")
def adapter(llm, tmp_path_factory):
    """One that knows two sets by heart."""
    folder = tmp_path_factory.mktemp("adapter")
    train(llm, PAIRS, folder, Recipe(steps=30))
    llm.use_adapter(None)
    return folder


def test_an_adapter_scaled_in_its_folder_is_one_scaled_in_use(llm, adapter, tmp_path):
    by_scale = []
    for scale in (1.0, 0.75, 0.5, 0.35):
        llm.use_adapter(adapter, scale=scale)
        by_scale.append(llm.losses(PAIRS))
    assert by_scale == sorted(by_scale)  # it learned just these
    for file in adapter.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    scale_saved(tmp_path, 0.5)
    llm.use_adapter(tmp_path)
    assert llm.losses(PAIRS) == pytest.approx(by_scale[2], rel=1e-5)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in adapter.iterdir())


def test_a_scaled_adapter_is_a_peft_adapter_whose_update_is_scaled(llm, adapter, tmp_path):
    for file in adapter.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    scale_saved(tmp_path, 0.35)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight * (0.35 if "lora_B" in name else 1.0))
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "LORA"
    llm.use_adapter(None)
    plain = PeftModel.from_pretrained(llm._model, tmp_path)
    plain.unload()
