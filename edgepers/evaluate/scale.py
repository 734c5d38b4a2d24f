"""An adapter whose update is scaled down: what may still be published of one that the guard refuses whole.

An adapter that has learned a few sets by heart is sure of itself where it should not be. The way from the base model to it passes through
better models than its end (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"), and for LoRA that way is a factor of B.
"""

from pathlib import Path

from edgepers.files import replace_file

__all__ = ["SCALES", "scale_adapter"]

SCALES = (1.0, 0.75, 0.5, 0.35)


def scale_adapter(adapter: Path, scale: float) -> None:
    """Multiply the update of the adapter in a folder, every B of it: a crash leaves the old file or the new, whole."""
    from safetensors.torch import load_file, save

    file = adapter / "adapter_model.safetensors"
    scaled = {name: weight * scale if "lora_B" in name else weight for name, weight in load_file(file).items()}
    replace_file(file, save(scaled, metadata={"format": "pt"}))
