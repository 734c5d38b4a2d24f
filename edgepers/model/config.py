"""The configuration of a model, without its weights: from this machine, or one of those that ship."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgepers.assets import shipped_configs
from edgepers.errors import ModelError, first_line
from edgepers.model.folder import check_config, check_quantization
from edgepers.model.gguf_config import gguf_config
from edgepers.model.gguf_file import GgufFile
from edgepers.model.loading import quiet, resolve
from edgepers.model.pretrained import read_config
from edgepers.model.sources import find_gguf

__all__ = ["config_of", "shipped_models"]

_ALIKE = 0.8  # of two names: a base model and its "-Instruct", or two sizes of a family


def shipped_models() -> dict[str, dict[str, Any]]:
    """What decides the shapes of ten common models, as their public cards have it, by Hub name; smallest first."""
    found: dict[str, dict[str, Any]] = json.loads(shipped_configs().read_text(encoding="utf-8"))
    return found


def config_of(model: str | None) -> Any:
    """Of a local folder (config.json is enough), a GGUF file's header, the packaged model (None), or a Hub name.

    On this machine, or one that ships.

    Raises:
        ModelError: no such configuration, or one that cannot be read.
    """
    from transformers import AutoConfig

    if model is not None and (file := find_gguf(model)) is not None:
        with quiet():
            return gguf_config(GgufFile(file))
    folder = None if model is None else Path(model).expanduser()
    name = str(folder) if folder and (folder / "config.json").exists() else resolve(model)
    try:
        with quiet():
            if Path(name).is_dir():
                check_config(Path(name))
            config = read_config(name, offline=True)
            check_quantization(name, config)
            return config
    except OSError as error:
        if Path(name).is_dir():
            raise ModelError(f"--model {model}: {first_line(error)}; check its config.json") from error
        shipped = shipped_models()
        if model is None:
            raise ModelError(f"{name}: the packaged model is damaged; install edgepers again") from error
        if model in shipped:
            return AutoConfig.for_model(**shipped[model], dtype="bfloat16")
        cure = f"fetch it with 'hf download {model} config.json'"
        if alike := get_close_matches(model, shipped, 1, _ALIKE):
            cure += f", or give {alike[0]}, whose shapes come with edgepers"
        raise ModelError(f"--model {model}: its configuration is not on this machine; {cure}") from error
    except (ValueError, KeyError) as error:
        raise ModelError(f"--model {model}: {first_line(error)}; check its config.json") from error
