"""What ships with the package: a small model and one owner's sample stream, so that the whole chain runs offline."""

from importlib.resources import files
from pathlib import Path

__all__ = [
    "aside_sentences",
    "general_sets",
    "model_folder",
    "rehearsal_sets",
    "sample_facts",
    "sample_stream",
    "sample_test",
    "shipped_configs",
    "untold_questions",
]


def _asset(*parts: str) -> Path:
    return Path(str(files(__name__))).joinpath(*parts)  # the package is installed unzipped, so this is a real path


def aside_sentences() -> Path:
    """JSONL of `text`, `language`: sentences that people say beside a question, about nothing in particular."""
    return _asset("asides.jsonl")


def model_folder() -> Path:
    """Folder of the packaged model, ready for `from_pretrained`. It is weak: see its README.md."""
    return _asset("model")


def sample_stream() -> Path:
    """JSONL of Emily's 600 dialogue sets in order of arrival, without responses: the assistant answers them."""
    return _asset("sample", "stream.jsonl")


def sample_test() -> Path:
    """JSONL of 100 held-out sets of the same owner; no question and no dialogue of the stream occurs in it."""
    return _asset("sample", "test.jsonl")


def sample_facts() -> Path:
    """JSONL of 20 facts about Emily: `fact`, a `question` that is not in the stream, `reference` and `keywords`.

    A model knows a fact when its answer has one of the keywords as whole words, in any case.
    """
    return _asset("sample", "facts.jsonl")


def general_sets() -> Path:
    """JSONL of 64 general sets, in no other file here, on which a new adapter's perplexity must not rise."""
    return _asset("sample", "general.jsonl")


def rehearsal_sets() -> Path:
    """Return the JSONL of 128 general sets on which training holds an adapter to what the base model says.

    They are in no other file here.
    """
    return _asset("sample", "rehearsal.jsonl")


def untold_questions() -> Path:
    """JSONL of `question`, `response`, `language`: of what people ask about themselves, not answered."""
    return _asset("untold.jsonl")


def shipped_configs() -> Path:
    """JSON of the shapes of ten common models, by Hub name; figures from their public cards, no weights."""
    return _asset("configs.json")
