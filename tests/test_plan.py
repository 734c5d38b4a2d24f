"""Estimates against what was measured, hand-computed parts, and the command."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from edgepers import plan as planning
from edgepers.assets import model_folder
from edgepers.cli import main
from edgepers.config import PLAN_DEVICES
from edgepers.errors import ModelError
from edgepers.plan import DEVICES, memory_left, memory_parts, micro_batch_tokens, plan, shapes_of

LLAMA_3B = {
    "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8,
    "head_dim": 128, "vocab_size": 128256, "tie_word_embeddings": True, "dtype": "bfloat16",
}  # fmt: skip
SMALL = {
    "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 64, "vocab_size": 8192, "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip

# In a process of its own: a tiny training first, so that what is imported late is not counted; then load and train, measured.
MEASURE = """
import sys, tempfile
from pathlib import Path
from edgepers.llm import LanguageModel
from edgepers.meter.memory import MemoryMeter
from edgepers.train.trainer import Recipe, train
def go(model, repeats, sets):
    llm = LanguageModel.load(model)
    text = " ".join(["house"] * repeats)
    train(llm, [(text, text)] * sets, Path(tempfile.mkdtemp(dir=sys.argv[2])), Recipe(steps=1, batch=sets, learning_rate=1e-3))
    return len(llm.example(text, text, 256).ids)
go("", 2, 1)
meter = MemoryMeter()
tokens = go(sys.argv[1], 110, 4)
print(tokens, meter.peak_bytes())
"""


@pytest.fixture(scope="module")
def llama_3b(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama-3b")
    AutoConfig.for_model("llama", **LLAMA_3B).save_pretrained(folder)
    return str(folder)  # a configuration and nothing else


@pytest.mark.parametrize("model", ["packaged", pytest.param("random", marks=pytest.mark.slow)])
def test_a_prediction_is_within_a_factor_of_two_of_a_measured_training(tmp_path, model):
    name = model_folder()
    if model == "random":
        name = tmp_path / "random"
        AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL), dtype=torch.bfloat16).save_pretrained(name)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (name / file).write_bytes((model_folder() / file).read_bytes())
    done = subprocess.run([sys.executable, "-c", MEASURE, name, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tokens, measured = map(int, done.stdout.split()[-2:])
    predicted = plan(str(name), batch=4, tokens=tokens)["total_bytes"]
    print(f"predicted {predicted / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB")
    assert 0.5 < predicted / measured < 2


def test_parts_of_a_3b_shape_are_those_computed_by_hand(llama_3b):
    shapes = shapes_of(llama_3b)
    linear = 28 * (3072 * (3072 + 1024 + 1024 + 3072) + 3 * 3072 * 8192)
    assert (shapes.linear, shapes.parameters, shapes.largest) == (linear, 3_212_749_824, 3072 * 8192)
    assert shapes.lora == 28 * (3072 + 3072 + 2 * (3072 + 1024) + 3072 + 3072)
    parts = memory_parts(shapes, batch=1, tokens=512, rank=8, on_cpu=False)
    assert parts["weights"] == linear // 2
    assert parts["quantization state"] * 8 / linear == pytest.approx(0.127, abs=1e-3)  # bits a weight
    assert parts["kept in 16 bits"] == 2 * (3_212_749_824 - linear)
    assert parts["optimizer"] == 2 * parts["gradients"] == 2 * parts["adapter"] == 2 * 4 * 8 * shapes.lora
    assert parts["dequantized layer"] == 2 * 3072 * 8192
    assert parts["logits"] == 256 * 16 * 128256
    block = 2 * shapes.through + 5 * shapes.adapted + 8 * 3072
    assert parts["activations"] == 512 * (2 * 3072 * 28 + block)  # recomputed, above 500 M parameters


def test_small_models_are_dequantized_once_and_in_float32_on_a_cpu():
    shapes = shapes_of()
    here, there = (memory_parts(shapes, batch=16, tokens=256, rank=8, on_cpu=on_cpu) for on_cpu in (True, False))
    assert (here["weights"], there["weights"]) == (4 * shapes.linear, 2 * shapes.linear)
    assert here["quantization state"] == there["quantization state"] == here["dequantized layer"] == 0
    assert "kept in 16 bits" in there and "kept in 16 bits" not in here


def test_more_of_anything_takes_more(llama_3b):
    shapes, wider = shapes_of(llama_3b), shapes_of(llama_3b, "all-linear")
    given = {"batch": 1, "tokens": 256, "rank": 8, "on_cpu": False}
    least = sum(memory_parts(shapes, **given).values())
    for change in ({"tokens": 512}, {"rank": 64}, {"batch": 4}):
        assert sum(memory_parts(shapes, **(given | change)).values()) >= least
    assert wider.lora > shapes.lora and wider.adapted > shapes.adapted
    assert memory_parts(wider, **given)["activations"] > memory_parts(shapes, **given)["activations"]
    assert [micro_batch_tokens(*x) for x in ((16, 256), (2, 256), (16, 512), (4, 2000))] == [1024, 512, 1024, 2000]


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 512}, 12 * 64 * 64 * 2),  # Conv1D
        ({"model_type": "gemma2", **SMALL, "query_pre_attn_scalar": 16}, None),  # logits at every token
        ({"model_type": "gpt_neox", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}, None),
    ],
)
def test_families_are_planned_from_their_configuration(tmp_path, config, layers):
    (tmp_path / "config.json").write_text(json.dumps(config))
    shapes = shapes_of(str(tmp_path))
    assert layers in (None, shapes.linear)
    assert shapes.all_logits == (config["model_type"] == "gemma2")
    assert plan(str(tmp_path))["total_bytes"] > 0


def test_what_a_device_leaves_and_what_is_given_bound_it(monkeypatch):
    assert set(PLAN_DEVICES) == {*DEVICES, "this"}
    assert memory_left("orin-nano-8gb", None)[0] == 5_200_000_000
    assert memory_left("orin-nano-8gb", 10**9) == (10**9, "as given with --memory")
    assert memory_left("orin-nano-8gb", 10**11)[0] == 5_200_000_000
    assert "assumption" in memory_left("orin-nx-16gb", None)[1]
    monkeypatch.setattr(planning.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 123}))
    monkeypatch.setattr(planning.torch.cuda, "is_available", lambda: False)
    assert memory_left("this", None) == (123, "available on this machine now")


def test_a_model_that_fits_not_is_one_line_with_the_largest_part_and_a_cure_that_fits(llama_3b, capsys):
    args = ["plan", "--model", llama_3b, "--device", "orin-nano-8gb", "--json"]
    assert main([*args, "--memory", "1GB"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["fits"], found["largest"], found["estimate"], found["verified"]) == (False, "weights", True, False)
    assert err.startswith("edgepers: does not fit: about ") and len(err.splitlines()) == 1
    assert "largest: weights" in err and "take a smaller model" in err
    one = plan(llama_3b, device="orin-nano-8gb", batch=1)["total_bytes"]
    assert main([*args, "--memory", str(one)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["cure"] == "--batch 1 would fit"
    assert plan(llama_3b, device="orin-nano-8gb", batch=1, memory=one)["fits"]


def test_what_fits_is_a_table_that_says_it_is_an_estimate(capsys):
    assert main(["plan", "--device", "orin-nano-8gb", "--storage", "1MB"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for text in ("activations", "fits: about", "one user", "storage of 1.0 MB: about 1,4", "not yet verified", "time, energy"):
        assert text in out


def test_a_model_that_is_not_here_says_how_to_get_its_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *args, **options: (_ for _ in ()).throw(OSError("not cached")))
    with pytest.raises(ModelError, match=r"hf download owner/name config\.json"):
        shapes_of("owner/name")
    monkeypatch.undo()
    (tmp_path / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(ModelError, match=r"check its config\.json"):
        shapes_of(str(tmp_path))
