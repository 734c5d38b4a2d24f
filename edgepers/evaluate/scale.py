"""An adapter whose update is scaled down: what may still be published of one that the guard refuses whole.

An adapter that has learned a few sets by heart is sure of itself where it should not be. The way from the base model to it passes through
better models than its end (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"), and for LoRA that way is a factor of B.
"""

import os
from pathlib import Path

from edgepers.files import sync_folder

__all__ = ["SCALES", "scale_adapter"]

SCALES = (1.0, 0.75, 0.5, 0.35)


def scale_adapter(adapter: Path, scale: float) -> None:
    """Multiply the update of the adapter in a folder, every B of it: a crash leaves the old file or the new, whole."""
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    beside = file.with_suffix(".new")
    weights = load_file(file)
    save_file({name: weight * scale if "lora_B" in name else weight for name, weight in weights.items()}, beside, metadata={"format": "pt"})
    with beside.open("rb") as handle:
        os.fsync(handle.fileno())
    beside.replace(file)
    sync_folder(adapter)
