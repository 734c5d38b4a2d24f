"""Files that are no model here: each refused in one line that says what to give instead."""

import struct

import gguf
import numpy as np
import pytest

from edgepers.cli import main
from edgepers.errors import BudgetError, ModelError
from edgepers.model.config import config_of
from edgepers.model.gguf_file import GgufFile
from edgepers.model.language_model import LanguageModel
from edgepers.model.loading import check_memory
from tests.gguf_files import byte_level, write_gguf


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    file = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    write_gguf(file)
    return file


def refused(path, says):
    """By everything that takes a model, and the same."""
    with pytest.raises(ModelError, match=says) as error:
        GgufFile(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    for take in (config_of, LanguageModel.load, lambda model: check_memory(model, 4, 10**12)):
        with pytest.raises(ModelError, match=says):
            take(str(path))


def written(file, architecture, fields):
    """A file of fields and no weights but one."""
    writer = gguf.GGUFWriter(file, architecture)
    fields(writer)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_fields_and_weights_are_those_that_the_gguf_package_reads(whole):
    found, wanted = GgufFile(whole), gguf.GGUFReader(whole)
    own = {name for name in wanted.fields if not name.startswith("GGUF.")}
    assert found.fields.keys() == own
    for name in own:
        assert found.fields[name] == wanted.fields[name].contents(), name
    assert list(found.tensors) == [tensor.name for tensor in wanted.tensors]
    for tensor in wanted.tensors:
        mine = found.tensors[tensor.name]
        assert (mine.shape, mine.start) == (tuple(reversed(tensor.shape.tolist())), tensor.data_offset)
        assert (mine.size, mine.type) == (tensor.n_bytes, tensor.tensor_type.name)


def test_a_file_that_is_cut_anywhere_says_so(whole, tmp_path):
    data, cut = whole.read_bytes(), tmp_path / "cut.gguf"
    starts = [tensor.start for tensor in GgufFile(whole).tensors.values()]
    for size in (10, 23, 24, 31, 100, min(starts) // 2, min(starts) - 200):
        cut.write_bytes(data[:size])
        with pytest.raises(ModelError, match="is cut in its header"):
            GgufFile(cut)
    for size in (min(starts), max(starts) + 1, len(data) - 32):
        cut.write_bytes(data[:size])
        with pytest.raises(ModelError, match=f"is cut: {size:,} bytes of"):
            GgufFile(cut)
    refused(cut, "is cut: .*; download it again")


def test_damaged_bytes_in_the_header_are_one_line_or_read(whole, tmp_path):
    data, file = bytearray(whole.read_bytes()), tmp_path / "damaged.gguf"
    random = np.random.default_rng(0)
    for at in random.integers(4, 9000, 300):
        changed = data.copy()
        changed[at] ^= int(random.integers(1, 256))
        file.write_bytes(changed)
        try:
            GgufFile(file)
        except ModelError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "is not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + bytes(100), "is big-endian; convert it"),
        (b"GGUF" + struct.pack("<IQQ", 1, 1, 1) + bytes(100), "is GGUF version 1, and 2 and 3 are read"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 1 << 60), "is cut in its header"),
    ],
)
def test_what_is_no_gguf_of_today_is_refused(tmp_path, content, says):
    (tmp_path / "m.gguf").write_bytes(content)
    refused(tmp_path / "m.gguf", says)


@pytest.mark.parametrize(
    ("architecture", "fields", "says"),
    [
        ("mamba", byte_level, "architecture 'mamba', and gemma2, gemma3, llama, phi3, qwen2, qwen3 are read"),
        ("clip", byte_level, "a vision projector, not a text model"),
        ("llama", lambda w: w.add_type("mmproj"), "a vision projector, not a text model"),
        ("llama", lambda w: w.add_type("adapter"), "a LoRA adapter, not a model; give the GGUF file of its base"),
        ("llama", lambda w: w.add_uint16("split.count", 3), "one of 3 files of a split model; join them with"),
        ("llama", lambda w: w.add_expert_count(8), "a mixture of experts"),
        ("llama", lambda w: w.add_tokenizer_model("no_vocab"), "has no tokenizer"),
    ],
)
def test_what_is_no_text_model_or_a_part_of_one_is_refused(tmp_path, architecture, fields, says):
    refused(written(tmp_path / "m.gguf", architecture, fields), says)


def test_one_of_several_files_is_refused_by_its_name(tmp_path):
    file = tmp_path / "Llama-3.2-3B-Instruct-Q4_K_M-00002-of-00003.gguf"
    file.write_bytes(b"GGUF")
    refused(file, "one of 3 files of a split model")


@pytest.mark.parametrize("kind", ["IQ4_NL", "TQ1_0", "MXFP4", "Q2_K", 99])
def test_types_that_are_not_read_are_named(whole, tmp_path, kind):
    """The type of one weight is changed in the table of weights."""
    data = bytearray(whole.read_bytes())
    name = b"blk.0.ffn_up.weight"
    at = data.index(name) + len(name) + 4 + 16
    number = kind if isinstance(kind, int) else gguf.GGMLQuantizationType[kind]
    data[at : at + 4] = struct.pack("<I", number)
    (tmp_path / "Llama-3.2-1B-Instruct-IQ4.gguf").write_bytes(data)
    name = "type 99" if kind == 99 else kind
    refused(tmp_path / "Llama-3.2-1B-Instruct-IQ4.gguf", f"ffn_up.weight is stored as {name}, and F32, .*Q4_K_M")


def test_a_tokenizer_that_transformers_does_not_know_is_one_line(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    data = (tmp_path / "m.gguf").read_bytes().replace(b"gpt2", b"rwkv", 1)
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(ModelError, match=r"m\.gguf: its tokenizer cannot be made \(.*rwkv") as error:
        LanguageModel.load(str(tmp_path / "m.gguf"))
    assert "\n" not in str(error.value)


def test_memory_is_told_by_the_header(whole):
    weights = sum(int(np.prod(tensor.shape)) for tensor in GgufFile(whole).tensors.values())
    check_memory(str(whole), 16, 2 * weights)
    with pytest.raises(BudgetError, match="its weights take"):
        check_memory(str(whole), 16, 2 * weights - 1)
    check_memory(str(whole), 4, weights)


def test_a_plan_reads_the_header_alone(whole, tmp_path, capsys):
    cut = tmp_path / "whole.gguf"
    cut.write_bytes(whole.read_bytes()[: min(tensor.start for tensor in GgufFile(whole).tensors.values())])
    with cut.open("ab") as file:
        file.truncate(whole.stat().st_size)  # nothing but zeros where the weights were
    assert main(["plan", "--model", str(cut), "--bits", "16"]) == 0
    assert "0.9 M parameters" in capsys.readouterr().out
    assert main(["plan", "--model", str(tmp_path / "none.gguf")]) == 1
    assert "none.gguf: no such file; check the path" in capsys.readouterr().err
