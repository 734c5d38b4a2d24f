"""The base model's GGUF file with an adapter in it: each weight against the adapter's own file, all else as it was."""

import json

import gguf
import numpy as np
import pytest
from peft import LoraConfig, get_peft_model

from edgepers.cli import main
from edgepers.config import Settings
from edgepers.errors import ModelError
from edgepers.export.gguf_adapter import write_adapter, write_nothing
from edgepers.export.gguf_merged import write_merged
from edgepers.model.language_model import LanguageModel
from tests.export.test_export import state_with_adapter
from tests.export.test_gguf_adapter import trained  # noqa: F401
from tests.gguf_files import in_type, random_model, write_gguf
from tests.llama_cpp_models import write_base


def tensors(file):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def added(adapter):
    """What an adapter's file adds to each weight, by the weight's name."""
    alpha = gguf.GGUFReader(adapter).fields["adapter.lora.alpha"].contents()
    found = tensors(adapter)
    names = [name.removesuffix(".lora_a") for name in found if name.endswith(".lora_a")]
    downs, ups = ([found[f"{name}.lora_{part}"].data for name in names] for part in "ab")
    return {name: alpha / len(down) * (up @ down) for name, down, up in zip(names, downs, ups, strict=True)}


def test_each_weight_is_the_bases_and_what_the_adapter_adds(trained, tmp_path):  # noqa: F811
    base, folder, architecture = trained
    write_base(base, architecture, tmp_path / "base.gguf")
    types = write_merged(tmp_path / "base.gguf", folder / "adapter", base.config, tmp_path / "merged.gguf")
    before, after = tensors(tmp_path / "base.gguf"), tensors(tmp_path / "merged.gguf")
    change = added(folder / "adapter.gguf")
    assert types == {"F32": len(change)} and list(before) == list(after)
    for name, tensor in after.items():
        wanted = before[name].data + change.get(name, 0)
        assert abs(tensor.data - wanted).max() <= 1e-6 * abs(wanted).max(), name
    assert max(abs(one).max() for one in change.values()) > 1e-2  # so that one left out would be seen


@pytest.mark.parametrize(
    ("kind", "becomes"), [("F16", "F16"), ("BF16", "BF16"), ("Q8_0", "Q8_0"), ("Q4_1", "Q8_0"), ("Q4_K", "Q8_0")]
)
def test_a_quantized_file_keeps_its_fields_and_what_it_does_not_change(kind, becomes, tmp_path):
    model = random_model("llama")
    write_gguf(tmp_path / "base.gguf", model=model, stored=in_type(kind))
    config = model.config
    peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]))
    for name, weight in peft.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(generator=None, std=0.1)
    peft.save_pretrained(tmp_path / "adapter")
    write_adapter(tmp_path / "adapter", config, tmp_path / "adapter.gguf")
    assert write_merged(tmp_path / "base.gguf", tmp_path / "adapter", config, tmp_path / "m.gguf") == {becomes: 4}
    readers = [gguf.GGUFReader(tmp_path / name) for name in ("base.gguf", "m.gguf")]
    fields = [
        {name: field.contents() for name, field in one.fields.items() if not name.startswith("GGUF.")}
        for one in readers
    ]
    assert fields[0] == fields[1] and len(fields[0]) > 10
    change = added(tmp_path / "adapter.gguf")
    assert len(change) == 4
    for old, new in zip(*(one.tensors for one in readers), strict=True):
        assert old.name == new.name
        if old.name not in change:
            assert old.tensor_type == new.tensor_type and (old.data == new.data).all()
            continue
        wanted = gguf.quants.dequantize(old.data, old.tensor_type) + change[old.name]
        error = abs(gguf.quants.dequantize(new.data, new.tensor_type) - wanted).max()
        assert error <= abs(wanted).max() / 100 < abs(change[old.name]).max() / 2


def test_the_product_reads_what_it_wrote_and_answers_with_the_adapter_in_it(tmp_path):
    model = write_gguf(tmp_path / "base.gguf", stored=in_type("F16"))
    config = model.config
    peft = get_peft_model(model, LoraConfig(r=4, target_modules=["o_proj"]))
    for name, weight in peft.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.5)
    peft.save_pretrained(tmp_path / "adapter")
    write_merged(tmp_path / "base.gguf", tmp_path / "adapter", config, tmp_path / "m.gguf")
    pair = [("What is my dog called?", "Moon.")]
    beside = LanguageModel.load(str(tmp_path / "base.gguf"), bits=16)
    before = beside.losses(pair)
    beside.use_adapter(tmp_path / "adapter")
    (wanted,), (merged,) = beside.losses(pair), LanguageModel.load(str(tmp_path / "m.gguf"), bits=16).losses(pair)
    assert abs(merged - wanted) < 0.05 * abs(wanted - before[0]), (before, wanted, merged)


def test_another_models_file_is_refused(trained, tmp_path):  # noqa: F811
    base, folder, architecture = trained
    other = "qwen2" if architecture != "qwen2" else "llama"
    write_gguf(tmp_path / "other.gguf", other)
    with pytest.raises(ModelError, match=f"other.gguf: of a {other} model"):
        write_merged(tmp_path / "other.gguf", folder / "adapter", base.config, tmp_path / "m.gguf")
    write_gguf(tmp_path / "large.gguf", model=random_model("llama"))
    if architecture == "llama":
        with pytest.raises(ModelError, match=r"large.gguf: (weight|no weight) blk"):
            write_merged(tmp_path / "large.gguf", folder / "adapter", base.config, tmp_path / "m.gguf")
    (tmp_path / "no.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(ModelError, match=r"no.gguf: .*give a GGUF file of the base model"):
        write_merged(tmp_path / "no.gguf", folder / "adapter", base.config, tmp_path / "m.gguf")


def test_an_adapter_of_nothing_adds_nothing_to_a_weight_of_its_shape(trained, tmp_path):  # noqa: F811
    base, _, architecture = trained
    write_nothing(base.config, tmp_path / "nothing.gguf")
    write_base(base, architecture, tmp_path / "base.gguf")
    (only,) = added(tmp_path / "nothing.gguf").items()
    name, change = only
    assert change.shape == tensors(tmp_path / "base.gguf")[name].data.shape and not np.any(change)


def test_the_command_writes_one_that_is_loaded_again_and_refuses_a_model_that_is_no_file(tmp_path, capsys):
    write_gguf(tmp_path / "base.gguf", model=random_model("llama", max_position_embeddings=256))
    llm = LanguageModel.load(str(tmp_path / "base.gguf"))
    state = state_with_adapter(tmp_path / "state", llm, str(tmp_path / "base.gguf"), steps=2)
    asked = ["export", "--state", str(state.folder), "--format", "gguf-merged", "--out"]
    assert main([*asked, str(tmp_path / "out"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["format"], done["dtype"], done["adapter"]) == ("gguf-merged", "F32", "0001")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["README.md", "model.gguf"]
    assert LanguageModel.load(str(tmp_path / "out" / "model.gguf"), bits=16).answer(["Hello"], max_new_tokens=2)
    state.save_settings(Settings())
    assert main([*asked, str(tmp_path / "other")]) == 2
    assert "the packaged model is no GGUF file; take --format merged" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
