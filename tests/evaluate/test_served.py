"""The guard on weights that another program serves."""

import json

import gguf
import pytest
import torch

from edgepers.assets import sample_stream
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.errors import ModelError
from edgepers.evaluate.guard import Asked
from edgepers.evaluate.served import guard_served, take_weights
from edgepers.model.language_model import LanguageModel
from tests.export.test_export import state_with_adapter
from tests.llama_cpp_models import write_base
from tests.model.test_families import PAIRS, make


def quantized(source, file, kind, *, without="", beside=""):
    """The same file with its matrices in another type; `without` one, or with a copy of one under another name."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(file, "llama")
    for tensor in reader.tensors:
        if tensor.name == without:
            continue
        if beside:
            writer.add_tensor(beside, tensor.data)
            beside = ""
        if len(tensor.shape) == 2:
            writer.add_tensor(tensor.name, gguf.quants.quantize(tensor.data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("family", ["smollm", "qwen3", "gemma2", "gemma3_text", "phi3"])
def test_weights_of_a_file_are_those_of_the_model(tmp_path, family):
    llm = LanguageModel.load(str(make(tmp_path, family)), bits=16)
    architecture = {"smollm": "llama", "gemma3_text": "gemma3"}.get(family, family)
    write_base(llm._model, architecture, tmp_path / "base.gguf")
    own = {name: weight.clone() for name, weight in llm._model.state_dict().items()}
    for weight in llm._model.parameters():
        torch.nn.init.zeros_(weight)
    assert set(take_weights(llm, tmp_path / "base.gguf")) == {"F32"}
    for name, weight in llm._model.state_dict().items():
        assert torch.allclose(weight, own[name], atol=1e-2), name  # Gemma's norms go to 1 + w and back in 16 bits


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A state with an adapter of a small random model, and the model as a file of 8 bits."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "base").mkdir()
    llm = LanguageModel.load(str(make(folder / "base", "smollm")))
    state = state_with_adapter(folder / "state", llm, str(folder / "base"), steps=2)
    write_base(LanguageModel.load(str(folder / "base"), bits=16)._model, "llama", folder / "base.gguf")
    quantized(folder / "base.gguf", folder / "base-Q8_0.gguf", gguf.GGMLQuantizationType.Q8_0)
    return state, Settings(model=str(folder / "base")), folder / "base-Q8_0.gguf"


def test_an_adapter_is_judged_on_served_weights(served, capsys):
    state, _, file = served
    args = ["guard", "--state", str(state.folder), "--served", str(file), "--json"]
    codes = []
    for extra in ([], ["--merged"]):
        codes.append(main([*args, *extra]))
        found = json.loads(capsys.readouterr().out)
        assert (found["adapter"], found["reserve_sets"], found["loss_before"]) == ("0001", 0, None)
        assert set(found["weights"]) == {"F32", "Q8_0"}
        assert found["passes"] == (codes[-1] == 0)
    assert codes[1] == 0  # nothing was merged into it: near the base model in 4 bits


def test_a_reserve_decides_and_losses_are_near_the_model_s_own(served):
    state, settings, file = served
    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()[:10]]
    reserve = [(row["question"], row["reference"]) for row in rows]
    own = LanguageModel.load(settings.model, bits=16).losses(reserve)
    found = guard_served(
        settings, Asked(told=reserve[:2], reserve=reserve), state.adapters / "0001", file, merged=False
    )
    assert found["loss_before"] == pytest.approx(sum(own) / len(own), rel=1e-3)
    assert found["loss_after"] != found["loss_before"]
    assert found["passes"] or found["reason"]


def test_what_is_not_the_model_s_file_is_refused(served, tmp_path):
    state, settings, file = served
    adapter = state.adapters / "0001"
    wrong = tmp_path / "wrong.gguf"
    with pytest.raises(ModelError, match=r"wrong\.gguf: no such file; make it with"):
        guard_served(settings, Asked(told=PAIRS), adapter, wrong, merged=False)
    wrong.write_bytes(b"no GGUF at all" * 10)
    with pytest.raises(ModelError, match=r"wrong\.gguf: .*; give a GGUF file"):
        guard_served(settings, Asked(told=PAIRS), adapter, wrong, merged=False)
    (tmp_path / "other").mkdir()
    for name, says in (("llama", "weight token_embd.weight is"), ("qwen3", "of a qwen3 model; give a GGUF file of ")):
        write_base(LanguageModel.load(str(make(tmp_path / "other", name)), bits=16)._model, name, wrong)
        with pytest.raises(ModelError, match=says):
            guard_served(settings, Asked(told=PAIRS), adapter, wrong, merged=False)
    llm = LanguageModel.load(settings.model, bits=16)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for change, says in (
        ({"without": "output_norm.weight"}, r"no weight output_norm"),
        ({"beside": "rope.weight"}, r"rope\.weight has no place"),
    ):
        quantized(file.with_name("base.gguf"), wrong, q8, **change)
        with pytest.raises(ModelError, match=says):
            take_weights(llm, wrong)
