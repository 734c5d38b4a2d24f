"""Other programs' names of models, and the Hugging Face names of the same: what to give instead of them."""

import re

__all__ = ["hub_name_of_gguf", "hub_name_of_tag", "is_tag"]

# Ollama's name: the size that its tag `latest` has, and the Hub name by size
_MODELS: dict[str, tuple[str, dict[str, str]]] = {
    "llama3.2": ("3b", {size: f"meta-llama/Llama-3.2-{size.upper()}-Instruct" for size in ("1b", "3b")}),
    "llama3.1": ("8b", {size: f"meta-llama/Llama-3.1-{size.upper()}-Instruct" for size in ("8b", "70b")}),
    "llama3": ("8b", {size: f"meta-llama/Meta-Llama-3-{size.upper()}-Instruct" for size in ("8b", "70b")}),
    "qwen3": ("8b", {size: f"Qwen/Qwen3-{size.upper()}" for size in ("0.6b", "1.7b", "4b", "8b", "14b", "32b")}),
    "qwen2.5": (
        "7b",
        {size: f"Qwen/Qwen2.5-{size.upper()}-Instruct" for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b")},
    ),
    "qwen2.5-coder": (
        "7b",
        {size: f"Qwen/Qwen2.5-Coder-{size.upper()}-Instruct" for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b")},
    ),
    "qwen2": ("7b", {size: f"Qwen/Qwen2-{size.upper()}-Instruct" for size in ("0.5b", "1.5b", "7b")}),
    "gemma3": (
        "4b",
        {
            "270m": "google/gemma-3-270m-it",
            **{size: f"google/gemma-3-{size}-it" for size in ("1b", "4b", "12b", "27b")},
        },
    ),
    "gemma2": ("9b", {size: f"google/gemma-2-{size}-it" for size in ("2b", "9b", "27b")}),
    "gemma": ("7b", {size: f"google/gemma-{size}-it" for size in ("2b", "7b")}),
    "phi": ("2.7b", {"2.7b": "microsoft/phi-2"}),
    "phi3": ("3.8b", {"3.8b": "microsoft/Phi-3-mini-4k-instruct", "14b": "microsoft/Phi-3-medium-4k-instruct"}),
    "phi3.5": ("3.8b", {"3.8b": "microsoft/Phi-3.5-mini-instruct"}),
    "phi4": ("14b", {"14b": "microsoft/phi-4"}),
    "phi4-mini": ("3.8b", {"3.8b": "microsoft/Phi-4-mini-instruct"}),
    "smollm": ("1.7b", {size: f"HuggingFaceTB/SmolLM-{size.upper()}-Instruct" for size in ("135m", "360m", "1.7b")}),
    "smollm2": ("1.7b", {size: f"HuggingFaceTB/SmolLM2-{size.upper()}-Instruct" for size in ("135m", "360m", "1.7b")}),
    "tinyllama": ("1.1b", {"1.1b": "TinyLlama/TinyLlama-1.1B-Chat-v1.0"}),
    "mistral": ("7b", {"7b": "mistralai/Mistral-7B-Instruct-v0.3"}),
}
_WORDS = {"mini": "3.8b", "medium": "14b"}  # sizes that Phi's tags give by word
_TAG = re.compile(r"(?:[\w.-]+/)*([\w.-]+):([\w.-]+)")


def is_tag(model: str) -> bool:
    """Whether a name that is no folder can only be Ollama's: it has a tag, or is one of its models without an owner."""
    return _TAG.fullmatch(model) is not None or model.lower() in _MODELS


def hub_name_of_tag(model: str) -> str | None:
    """The Hub name of the same weights, where the table has them.

    Base models and quantizations by other people it has not.
    """
    match = _TAG.fullmatch(model)
    name, tag = (match[1], match[2]) if match else (model, "latest")
    if name.lower() not in _MODELS or re.search(r"\b(?:base|text)\b", tag.replace("_", "-")):
        return None
    latest, names = _MODELS[name.lower()]
    size = re.match(r"\d+(?:\.\d+)?[bm]|mini|medium", tag.lower())
    if size is None:
        return names[latest] if tag == "latest" or tag.startswith(("instruct", "chat")) else None
    return names.get(_WORDS.get(size[0], size[0]))


def hub_name_of_gguf(file: str) -> str | None:
    """The Hub name in a GGUF file's name, where the table has it: `Llama-3.2-3B-Instruct-Q4_K_M.gguf`."""
    stem = re.split(r"[/\\]", file)[-1].lower().removesuffix(".gguf")
    found = [
        name
        for _, names in _MODELS.values()
        for name in names.values()
        if _is_head(name.rpartition("/")[2].lower(), stem)
    ]
    return max(found, key=len, default=None)


def _is_head(name: str, stem: str) -> bool:
    stem = stem.removeprefix("meta-") if not name.startswith("meta-") else stem
    return stem == name or stem.startswith((name + "-", name + "."))
