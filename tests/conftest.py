"""Shared fixtures: the packaged model, loaded once, and an encoder that needs no model."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor

from edgepers.model.language_model import LanguageModel

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = (
        "1"  # Triton looks when it is imported, which some library does before the tests of our kernels
    )

if workers := int(
    os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")
):  # they share the cores, and so do the programs that they start
    torch.set_num_threads(max(torch.get_num_threads() // workers, 1))
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())

settings.register_profile("same", derandomize=True, deadline=None)  # a run that fails anywhere fails everywhere
settings.load_profile("same")


@pytest.fixture(autouse=True, scope="session")
def _nothing_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Key rings of the tests' states, and models made of GGUF files, lie in folders of the tests' own.

    For programs started by tests, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture
def own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of this test's own: forgetting in a copy of a state destroys its key, and every other copy with it."""
    keys = shutil.copytree(os.environ["XDG_CONFIG_HOME"], tmp_path / "config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(keys))


@pytest.fixture(scope="session")
def llm() -> LanguageModel:
    """The packaged model, shared by all tests; `_bare_llm` takes off what a test attached."""
    return LanguageModel.load()


@pytest.fixture(autouse=True)
def _bare_llm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves the shared model without an adapter, whether it passed or not."""
    shared = request.getfixturevalue("llm") if "llm" in request.fixturenames else None
    yield
    if shared is not None:
        shared.use_adapter(None)


class WordEncoder:
    """Hidden states that are a fixed random vector a word: deterministic, instant, no model."""

    identity = "words"

    def __init__(self, hidden_size: int = 64) -> None:
        self.hidden_size = hidden_size

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [torch.stack([self._word(word) for word in text.split()] or [self._word("")]) for text in texts]
        offsets = torch.tensor([0, *np.cumsum([len(r) for r in rows])], dtype=torch.int64)
        return torch.cat(rows) if rows else torch.empty(0, self.hidden_size), offsets

    def _word(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=6).digest(), "little")
        return torch.randn(self.hidden_size, generator=torch.Generator().manual_seed(seed)) + 0.5


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()
