"""GGUF files as models: against transformers' own reading of the same file, and the model that it was written of."""

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from transformers import AutoModelForCausalLM, AutoTokenizer

from edgepers.errors import ModelError
from edgepers.model.gguf_config import gguf_config
from edgepers.model.gguf_convert import convert_gguf
from edgepers.model.gguf_file import READ_ARCHITECTURES, READ_TYPES, GgufFile
from edgepers.model.language_model import LanguageModel
from edgepers.model.loading import quiet
from tests.gguf_files import MODELS, in_type, random_model, write_gguf

TEXTS = ["What is the other?", "the the  x\ny", "<|im_start|>user\nÄ 12<|im_end|>"]


@pytest.fixture(autouse=True)
def _made_here(tmp_path, monkeypatch):
    """Nothing that another test has made of the same file is loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def theirs(file):
    """Transformers' reading, rounded to bfloat16 and computing in float32, as ours does."""
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
        return torch.nn.Module.float(model.eval())  # its own `float` takes it for a quantized model


def weights(model):
    return {name: weight.detach() for name, weight in model.named_parameters()}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert torch.equal(found[name], weight.to(found[name].dtype)), name


def test_every_architecture_that_is_read_has_a_file_here():
    assert sorted(MODELS) == sorted(READ_ARCHITECTURES)


@pytest.mark.parametrize("architecture", MODELS)
def test_a_file_is_the_model_that_it_was_written_of(tmp_path, architecture):
    model = write_gguf(tmp_path / "m.gguf", architecture)
    llm = LanguageModel.load(str(tmp_path / "m.gguf"), bits=16)
    found = weights(llm.base)
    for name, weight in weights(model).items():  # Gemma's norms go to 1 + w and back
        assert torch.allclose(found[name].float(), weight, atol=1e-6, rtol=2**-8), name
    ids = torch.arange(12)[None] + 20
    with torch.no_grad():
        logits, wanted = llm.base(ids).logits.float(), model(ids).logits
    assert float((logits - wanted).abs().max()) <= 0.02 * float(wanted.abs().max())


@pytest.mark.parametrize("architecture", [name for name in MODELS if name != "qwen3"])  # of which it reads no head size
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_weights_and_logits_are_those_that_transformers_reads(tmp_path, architecture, kind):
    write_gguf(tmp_path / "m.gguf", architecture, stored=in_type(kind))
    llm, reference = LanguageModel.load(str(tmp_path / "m.gguf"), bits=16), theirs(tmp_path / "m.gguf")
    same(weights(llm.base), weights(reference))
    ids = torch.arange(12)[None] + 20
    with torch.no_grad():
        assert torch.allclose(llm.base(ids).logits, reference(ids).logits, atol=1e-5)


@pytest.mark.parametrize("kind", READ_TYPES)
def test_every_type_is_dequantized_as_transformers_does_it(tmp_path, kind):
    write_gguf(tmp_path / "m.gguf", stored=in_type(kind))
    file = GgufFile(tmp_path / "m.gguf")
    assert {tensor.type for tensor in file.tensors.values() if len(tensor.shape) == 2} == {kind}
    same(weights(LanguageModel.load(str(file.path), bits=16).base), weights(theirs(file.path)))


def test_rows_that_come_in_many_parts_are_the_same_weight(tmp_path, monkeypatch):
    write_gguf(tmp_path / "m.gguf", stored=in_type("Q8_0"))
    monkeypatch.setattr("edgepers.model.gguf_file._CHUNK", 256 * 7)
    file = GgufFile(tmp_path / "m.gguf")
    assert len(list(file.read(file.tensors["token_embd.weight"]))) == 38  # of 263 rows
    same(weights(LanguageModel.load(str(file.path), bits=16).base), weights(theirs(file.path)))


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_four_bits_are_those_of_the_folder_in_sixteen(tmp_path, architecture):
    write_gguf(tmp_path / "m.gguf", architecture)
    for bits in (4, 16):
        (tmp_path / str(bits)).mkdir()
        with quiet():
            convert_gguf(GgufFile(tmp_path / "m.gguf"), bits, tmp_path / str(bits))
    assert sum(file.stat().st_size for file in (tmp_path / "4").glob("*.safetensors")) < 0.6 * sum(
        file.stat().st_size for file in (tmp_path / "16").glob("*.safetensors")
    )
    same(
        weights(LanguageModel.load(str(tmp_path / "4"), bits=4).base),
        weights(LanguageModel.load(str(tmp_path / "16"), bits=4).base),
    )


def test_larger_models_stay_in_four_bits(tmp_path, monkeypatch):
    """As stored: what is dequantized at each use is what was quantized once."""
    monkeypatch.setattr("edgepers.model.nf4.RESIDENT_BYTES", 0)
    model = write_gguf(tmp_path / "m.gguf")
    llm = LanguageModel.load(str(tmp_path / "m.gguf"))
    weight = llm.base.get_submodule("model.layers.1.mlp.up_proj").weight
    assert weight.dtype == torch.uint8
    found = dequantize_4bit(weight.data, weight.quant_state).float()
    wanted = model.get_submodule("model.layers.1.mlp.up_proj").weight.detach()
    assert float((found - wanted).square().mean() / wanted.square().mean()) < 0.02


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "phi3"])
def test_tokens_are_those_of_transformers(tmp_path, architecture):
    write_gguf(tmp_path / "m.gguf", architecture)
    llm = LanguageModel.load(str(tmp_path / "m.gguf"))
    with quiet():
        reference = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    assert [llm.tokenizer(text)["input_ids"] for text in TEXTS] == [reference(text)["input_ids"] for text in TEXTS]
    assert llm.tokenizer.chat_template == reference.chat_template
    assert llm.prompts.beginning == (() if architecture == "llama" else (2,))


def test_an_answer_ends_with_its_turn_and_its_message_as_the_file_has_them(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    assert LanguageModel.load(str(tmp_path / "m.gguf")).stop_ids == [0, 2, 3]
    write_gguf(tmp_path / "g.gguf", "gemma3")  # its end of turn is in the template alone
    assert LanguageModel.load(str(tmp_path / "g.gguf")).stop_ids == [1, 5]


ROPES = {
    "llama": {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 500000.0,
    },
    "qwen2": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 1e6},
    "phi3": {
        "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 128,
        "short_factor": [1.0 + i / 64 for i in range(32)], "long_factor": [1.0 + i for i in range(32)],
    },
}  # fmt: skip


def stretched(architecture, rope):
    """How llama.cpp's converter writes the stretching of positions."""

    def fields(writer):
        if rope["rope_type"] == "llama3":
            plain = rope["rope_theta"] ** -(torch.arange(0, 64, 2) / 64)
            own = random_model("llama", rope_parameters=rope).model.rotary_emb.inv_freq
            writer.add_tensor("rope_freqs.weight", (plain / own).numpy())
        elif rope["rope_type"] == "yarn":
            writer.add_string("qwen2.rope.scaling.type", "yarn")
            writer.add_float32("qwen2.rope.scaling.factor", rope["factor"])
            writer.add_uint32("qwen2.rope.scaling.original_context_length", 128)
        else:
            writer.add_tensor("rope_factors_long.weight", torch.tensor(rope["long_factor"]).numpy())
            writer.add_tensor("rope_factors_short.weight", torch.tensor(rope["short_factor"]).numpy())
            writer.add_uint32("phi3.rope.scaling.original_context_length", 128)

    return fields


@pytest.mark.parametrize("architecture", ROPES)
def test_stretched_positions_are_those_of_the_model(tmp_path, architecture):
    rope = ROPES[architecture]
    given = {"original_max_position_embeddings": 128} if architecture == "phi3" else {}
    model = random_model(architecture, rope_parameters=rope, **given)
    write_gguf(tmp_path / "m.gguf", architecture, model=model, fields=stretched(architecture, rope))
    llm = LanguageModel.load(str(tmp_path / "m.gguf"), bits=16)
    found, wanted = llm.base.model.rotary_emb, model.model.rotary_emb
    assert torch.allclose(found.inv_freq, wanted.inv_freq, rtol=1e-4)
    assert found.attention_scaling == pytest.approx(wanted.attention_scaling)
    plain = random_model(architecture).model.rotary_emb
    assert not torch.allclose(found.inv_freq, plain.inv_freq, rtol=1e-2)


def test_gemma_3_stretches_the_layers_that_see_everything(tmp_path):
    write_gguf(tmp_path / "m.gguf", "gemma3", fields=lambda w: w.add_float32("gemma3.rope.scaling.factor", 8.0))
    ropes = gguf_config(GgufFile(tmp_path / "m.gguf")).rope_parameters
    assert ropes["full_attention"]["factor"] == 8.0 and "factor" not in ropes["sliding_attention"]


def test_a_table_of_frequencies_that_is_not_known_is_refused(tmp_path):
    table = torch.linspace(1, 9, 32).numpy()
    write_gguf(tmp_path / "m.gguf", fields=lambda w: w.add_tensor("rope_freqs.weight", table))
    with pytest.raises(ModelError, match=r"a table of frequencies .* other than Llama 3's"):
        gguf_config(GgufFile(tmp_path / "m.gguf"))


def test_weights_that_have_no_place_or_are_not_there_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    extra = torch.zeros(3).numpy()
    write_gguf(tmp_path / "more.gguf", fields=lambda w: w.add_tensor("blk.0.attn_sinks.weight", extra))
    with pytest.raises(ModelError, match=r"LlamaForCausalLM has no place for blk\.0\.attn_sinks\.weight"):
        convert_gguf(GgufFile(tmp_path / "more.gguf"), 16, tmp_path / "out")
    write_gguf(tmp_path / "less.gguf")
    file = GgufFile(tmp_path / "less.gguf")
    del file.tensors["blk.1.attn_k.weight"]
    with pytest.raises(ModelError, match=r"no weight for model\.layers\.1\.self_attn\.k_proj\.weight in it"):
        convert_gguf(file, 16, tmp_path / "out")


def test_only_a_part_of_a_model_is_in_memory_at_once(tmp_path, monkeypatch):
    """Files that are written hold no more than their bound or one weight, and what is read no more than a part."""
    monkeypatch.setattr("edgepers.model.gguf_convert._SHARD_BYTES", 300_000)
    write_gguf(tmp_path / "m.gguf", "qwen2")
    (tmp_path / "out").mkdir()
    convert_gguf(GgufFile(tmp_path / "m.gguf"), 16, tmp_path / "out")
    sizes = [file.stat().st_size for file in sorted((tmp_path / "out").glob("*.safetensors"))]
    assert len(sizes) > 4 and max(sizes) < 310_000
    assert LanguageModel.load(str(tmp_path / "out"), bits=16).answer(["Hi"], max_new_tokens=2)
