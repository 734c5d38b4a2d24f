"""The adapter in GGUF: rebuilt from the file without our own code, and loaded by llama.cpp where that is installed."""

import json

import gguf
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from edgepers.cli import main
from edgepers.errors import ModelError
from edgepers.export.gguf_adapter import write_adapter
from edgepers.model.gguf_names import GgufNames
from edgepers.model.language_model import LanguageModel
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train
from tests.llama_cpp_models import file_name, halved, heads_of, interleaved, logits, write_base
from tests.model.test_families import PAIRS, make

FAMILIES = {
    "llama": "llama", "smollm": "llama", "qwen2": "qwen2", "qwen3": "qwen3",
    "gemma": "gemma", "gemma2": "gemma2", "gemma3_text": "gemma3", "phi3": "phi3",
}  # fmt: skip
IDS = [3, 17, 256, 1000, 4096, 8191, 5, 5, 99]


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request, tmp_path_factory):
    """A random model of a family in float32, its folder, and an adapter of it on every linear layer."""
    folder = tmp_path_factory.mktemp(request.param)
    make(folder, request.param)
    llm = LanguageModel.load(str(folder), bits=16)
    (folder / "adapter").mkdir()
    train(llm, PAIRS, folder / "adapter", Recipe(steps=3, batch=2, learning_rate=5e-2, rank=3, targets="all-linear"))
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    write_adapter(folder / "adapter", base.config, folder / "adapter.gguf")
    return base, folder, FAMILIES[request.param]


@torch.no_grad()
def plain_logits(model):
    return model(torch.tensor([IDS])).logits[0].numpy()


def test_merged_weights_rebuilt_from_the_file_say_what_peft_says(trained):
    base, folder, architecture = trained
    reader = gguf.GGUFReader(folder / "adapter.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.type"], fields["general.architecture"], fields["adapter.type"]) == (
        "adapter",
        architecture,
        "lora",
    )
    assert reader.fields["adapter.lora.alpha"].types == [gguf.GGUFValueType.FLOAT32]
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    own = {file_name(key, architecture in ("gemma2", "gemma3")): key for key in base.state_dict()}
    merged = dict(base.state_dict())
    for name in [name.removesuffix(".lora_a") for name in tensors if name.endswith(".lora_a")]:
        down, up = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        assert len(down) == up.shape[1] == 3
        if heads := heads_of(name, base.config, architecture):
            up = halved(up, heads)
        merged[own[name]] = merged[own[name]] + torch.from_numpy(fields["adapter.lora.alpha"] / len(down) * (up @ down))
    before = plain_logits(base)
    rebuilt = AutoModelForCausalLM.from_config(base.config, dtype=torch.float32).eval()
    rebuilt.load_state_dict(merged)
    peft = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), folder / "adapter"
    ).eval()
    wanted = plain_logits(peft)
    scale = abs(wanted).max()
    assert abs(plain_logits(rebuilt) - wanted).max() <= 1e-5 * scale
    assert abs(before - wanted).max() > 1e-2 * scale  # so that an adapter left out would be seen


def test_llama_cpp_loads_it_and_says_what_peft_says(trained):
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    base, folder, architecture = trained
    write_base(base, architecture, folder / "base.gguf")
    peft = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), folder / "adapter"
    ).eval()
    wanted, before = plain_logits(peft), plain_logits(base)
    scale = abs(wanted).max()
    assert (
        abs(logits(llama_cpp, folder / "base.gguf", IDS) - before).max() <= 1e-3 * scale
    )  # the most was 4.2e-4, Gemma 2
    error = abs(logits(llama_cpp, folder / "base.gguf", IDS, folder / "adapter.gguf") - wanted).max()
    print(
        f"{architecture}: largest logit {scale:.3f}, largest error {error:.2e}, the adapter's change"
        f" {abs(wanted - before).max():.3f}"
    )
    assert error <= 1e-3 * scale  # the most was 4.2e-4, Gemma 2


def test_rows_go_there_and_back_in_the_order_that_llama_cpp_has():
    names = GgufNames("llama", 4, 2, None)
    weight = torch.randn(32, 3)
    for name, heads in (("blk.0.attn_q.weight", 4), ("blk.1.attn_k.bias", 2)):
        there = names.rows(name, weight)
        assert (there.numpy() == interleaved(weight.numpy(), heads)).all()
        assert torch.equal(names.weight_back(name, there), weight)
    for same in (
        names.rows("blk.0.attn_v.weight", weight),
        GgufNames("qwen2", 4, 2, None).rows("blk.0.attn_q.weight", weight),
    ):
        assert same is weight


def test_export_writes_it_with_its_card(tmp_path, llm, capsys):
    from tests.export.test_export import state_with_adapter

    state = state_with_adapter(tmp_path / "state", llm, steps=2)
    out = tmp_path / "out"
    assert main(["export", "--state", str(state.folder), "--format", "gguf", "--out", str(out), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["format"], done["dtype"], done["onto"]) == ("gguf", "float32", None)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "adapter.gguf"]
    assert "--lora adapter.gguf" in (out / "README.md").read_text()
    assert len(gguf.GGUFReader(out / "adapter.gguf").tensors) == 2 * 4 * llm.config.num_hidden_layers


def adapter_like(source, folder, change, rename=str):
    folder.mkdir(parents=True)
    config = json.loads((source / "adapter_config.json").read_text())
    save_file(
        {rename(k): w for k, w in load_file(source / "adapter_model.safetensors").items()},
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_text(json.dumps(config | change))
    return folder


def test_what_has_no_place_in_gguf_is_refused_in_one_line(trained, tmp_path):
    base, folder, _ = trained
    file = tmp_path / "adapter.gguf"
    with pytest.raises(ModelError, match=r"adapter dora: more than plain LoRA \(use_dora\)"):
        write_adapter(adapter_like(folder / "adapter", tmp_path / "dora", {"use_dora": True}), base.config, file)
    other = adapter_like(folder / "adapter", tmp_path / "other", {}, lambda name: name.replace("o_proj", "x_proj"))
    with pytest.raises(ModelError, match=r"layer model\.layers\.0\.self_attn\.x_proj has no name in GGUF"):
        write_adapter(other, base.config, file)
    with pytest.raises(ModelError, match="model type 'gpt2': no GGUF names are known for it, only for gemma, "):
        write_adapter(folder / "adapter", AutoConfig.for_model("gpt2"), file)
    assert not file.exists()
