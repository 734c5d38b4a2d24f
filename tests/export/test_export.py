import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from edgepers.assets import model_folder, sample_stream
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.errors import ModelError, UsageError
from edgepers.export import export as module
from edgepers.export.export import export
from edgepers.model import nf4
from edgepers.model.language_model import LanguageModel
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train
from tests.model.test_families import make

ROWS = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()[:20]]


def state_with_adapter(folder, llm, model=None, *, steps=20, **options) -> State:
    """A state as a round leaves it, with one adapter published."""
    state = State(folder)
    (state.adapters / "0001").mkdir(parents=True)
    pairs = [(row["question"], row["reference"]) for row in ROWS]
    train(llm, pairs, state.adapters / "0001", Recipe(steps=steps, batch=8, learning_rate=2e-3, **options))
    state.save_settings(Settings(model=model))
    state.save_round({"round": 1, "adapter": "0001", "trained_on": []})
    with Buffer(state.folder, 281_000) as buffer:
        buffer.start({"model": llm.identity}, llm.hidden_size)
        buffer.save(buffer.progress.round_done(1, synthesized=0, refused={}, published="0001", keep=3))
    return state


@pytest.fixture(scope="module")
def state(tmp_path_factory, llm):
    return state_with_adapter(tmp_path_factory.mktemp("export") / "state", llm)


def greedy(folder, llm, questions):
    """Answers of plain transformers, one by one in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers = []
    for question in questions:
        ids = torch.tensor([llm.token_ids(llm.prompt(question))])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)
        answers.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return answers


def test_merged_reloads_in_plain_transformers_and_answers_the_same(state, llm, tmp_path, capsys):
    out = tmp_path / "deep" / "model"
    assert main(["export", "--state", str(state.folder), "--format", "merged", "--out", str(out), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["adapter"], done["dtype"], done["onto"]) == ("0001", "bfloat16", "quantized")
    assert done["bytes"] == sum(f.stat().st_size for f in out.iterdir())
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert str(model_folder()) in (out / "README.md").read_text()
    questions = [row["question"] for row in ROWS]
    llm.use_adapter(state.adapters / "0001")
    product = llm.answer(questions)
    llm.use_adapter(None)
    assert product != llm.answer(questions)
    same = sum(a == b for a, b in zip(product, greedy(out, llm, questions), strict=True))
    assert same >= 19
    reloaded = LanguageModel.load(str(out), bits=16)
    assert len(reloaded.answer(["Hi"], max_new_tokens=2)) == 1


def test_peft_reloads_onto_the_base_model_it_names(state, tmp_path, capsys):
    out = tmp_path / "adapter"
    assert main(["export", "--state", str(state.folder), "--format", "peft", "--out", str(out)]) == 0
    assert "adapter 0001 of " in capsys.readouterr().out
    base = json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base in (out / "README.md").read_text()
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)


@pytest.mark.parametrize("onto", ["quantized", "original"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text", "phi3", "phi", "gpt2"])
def test_every_weight_of_a_family_is_written_under_its_own_name_with_its_delta(tmp_path, monkeypatch, family, onto):
    monkeypatch.setattr(module, "SHARD_BYTES", 300_000)
    base = tmp_path / "base"
    base.mkdir()
    make(base, family)
    bits = 4 if onto == "quantized" else 16
    llm = LanguageModel.load(str(base), bits=bits)
    state = state_with_adapter(tmp_path / "state", llm, str(base), steps=2, targets="all-linear")
    out = tmp_path / "out"
    monkeypatch.setattr(nf4, "RESIDENT_BYTES", 0)  # as large models are: 4-bit layers to the end
    export(state, Settings(model=str(base)), "0001", out, form="merged", onto=onto)
    assert len(list(out.glob("model-0000*-of-*.safetensors"))) > 1
    assert shapes(out) == shapes(base)
    merged = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    llm.use_adapter(state.adapters / "0001")
    example = llm.example(ROWS[0]["question"], ROWS[0]["reference"], 128)
    ids = torch.tensor([example.ids])
    with torch.no_grad():
        a, b = merged(ids).logits.flatten(), llm._model(ids).logits.float().flatten()
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.999


def shapes(folder):
    return {name: tensor.shape for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(state, llm, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("x")
    empty = State(tmp_path / "empty")
    empty.save_settings(Settings())
    Buffer(empty.folder, 281_000).close()
    there, out = ["export", "--state", str(state.folder)], ["--out", str(tmp_path / "out")]
    for args, code, says in (
        ([*there, "--format", "onnx", *out], 2, "choose from"),
        ([*there, "--format", "peft", "--out", str(full)], 2, "not an empty folder"),
        ([*there, "--format", "peft", "--adapter", "0007", *out], 1, "no adapter 0007; there are 0001"),
        (["export", "--state", str(empty.folder), "--format", "merged", *out], 1, "no adapter is published"),
        (["export", "--state", str(tmp_path / "none"), "--format", "peft", *out], 1, "nothing there yet"),
    ):
        try:
            got = main(args)
        except SystemExit as stop:
            got = stop.code
        printed, err = capsys.readouterr()
        assert (got, printed, len(err.strip().splitlines())) == (code, "", 1)
        assert says in err
    assert (full / "mine").read_text() == "x"
    with pytest.raises(UsageError, match="'onnx'"):
        export(state, Settings(), "0001", tmp_path / "out", form="onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full"]


def test_an_adapter_of_another_model_or_kind_is_refused_and_nothing_appears(state, tmp_path):
    other = State(tmp_path / "other")
    folder = other.adapters / "0001"
    folder.mkdir(parents=True)
    source = state.adapters / "0001"
    config = json.loads((source / "adapter_config.json").read_text())
    weights = {
        name.replace("layers.0", "layers.99"): w for name, w in load_file(source / "adapter_model.safetensors").items()
    }
    for change, says in (({}, "no layer model.layers.99"), ({"use_dora": True}, "more than plain LoRA")):
        save_file(weights, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=says):
            export(other, Settings(), "0001", tmp_path / "out", form="merged")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["other"]
