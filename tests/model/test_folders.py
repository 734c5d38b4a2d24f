"""Folders as they are really downloaded.

Cut, not fetched, quantized by others, or with weights that belong to another model.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgepers.assets import model_folder
from edgepers.errors import ModelError
from edgepers.model.config import config_of
from edgepers.model.folder import weight_files
from edgepers.model.language_model import LanguageModel


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(model_folder(), tmp_path / "model")


def rewrite(folder, change):
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def configure(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refused(folder, says, bits=4):
    with pytest.raises(ModelError, match=says) as error:
        LanguageModel.load(str(folder), bits=bits)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bits", [4, 16])
def test_a_weight_that_is_missing_is_an_error_and_not_random(folder, bits):
    lost = "model.layers.1.mlp.up_proj.weight"
    rewrite(folder, lambda weights: {name: w for name, w in weights.items() if name != lost})
    refused(folder, f"{lost} is missing from its files", bits)


def test_a_head_that_is_not_stored_and_not_tied_is_an_error(folder):
    rewrite(folder, lambda weights: {name: w for name, w in weights.items() if "lm_head" not in name})
    configure(folder, tie_word_embeddings=False)
    refused(folder, "lm_head.weight is missing")


def test_weights_that_the_model_has_no_place_for_are_an_error_and_old_buffers_are_not(folder):
    rewrite(folder, lambda weights: weights | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)})
    LanguageModel.load(str(folder))
    rewrite(folder, lambda weights: weights | {f"model.extra.{n}": torch.zeros(2) for n in range(5)})
    refused(folder, r"model\.extra\.0, model\.extra\.1, model\.extra\.2 and 2 more are in its files")


def test_a_weight_of_another_shape_is_an_error(folder):
    rewrite(folder, lambda weights: weights | {"model.norm.weight": torch.zeros(3)})
    refused(folder, r"model\.norm\.weight is \[3\] in its files, not \[256\]")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model."])
def test_a_prefix_of_every_weight_is_taken_off(folder, llm, prefix):
    rewrite(folder, lambda weights: {prefix + name: w for name, w in weights.items()})
    pairs = [("What is bread?", "Food.")]
    assert LanguageModel.load(str(folder)).losses(pairs) == pytest.approx(llm.losses(pairs))


def test_weights_that_lie_beside_the_models_own_are_not_counted(folder):
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    assert [file.name for file in weight_files(folder)] == ["model.safetensors"]


def test_files_that_are_cut_missing_or_not_fetched_are_one_line(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])
    refused(folder, "is cut")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(folder, "pointer of Git LFS")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    refused(folder, "is missing; download it")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    refused(folder, "may hold code")


def test_a_folder_without_a_tokenizer_is_one_line(folder):
    (folder / "tokenizer.json").unlink()
    refused(folder, "no tokenizer in this folder")


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "compressed-tensors"])
def test_weights_that_others_quantized_are_refused_in_a_plan_too(folder, method):
    configure(folder, quantization_config={"quant_method": method, "bits": 4})
    refused(folder, method)
    with pytest.raises(ModelError, match=method):
        config_of(str(folder))


def test_mlx_and_8_bits_are_refused(folder):
    configure(folder, quantization={"group_size": 64, "bits": 4})
    refused(folder, "mlx")
    configure(folder, quantization=None, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    refused(folder, "8 bits")


def test_a_pad_token_beyond_the_embedding_is_replaced(folder):
    configure(folder, pad_token_id=8192)
    llm = LanguageModel.load(str(folder))
    assert len(llm.answer(["Hi", "What is bread?"], max_new_tokens=2)) == 2
