"""Which kind of server an address belongs to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgepers.errors import UpstreamError
from edgepers.upstream.api import ANSWER_SECONDS, Api
from edgepers.upstream.llama_cpp import LlamaCpp
from edgepers.upstream.ollama import Ollama
from edgepers.upstream.server import Upstream

__all__ = ["find_upstream"]


def find_upstream(
    address: str,
    model: str,
    *,
    base: str | None,
    config: Callable[[], Any],
    lora: Path,
    restart: str,
    work: Path,
    seconds: float = ANSWER_SECONDS,
) -> Upstream:
    """The server at an address, as one that can be given an adapter.

    Args:
        address: of it.
        model: the base model's name there.
        base: what the state calls the base model.
        config: gives its configuration (transformers').
        lora: for llama.cpp, the file that it was started with.
        restart: for llama.cpp, the command that restarts it; "" where it is a router.
        work: folder for files on their way, which may be deleted with all in it.
        seconds: that it may be silent.

    Raises:
        UpstreamError: it cannot be reached, is neither Ollama nor llama.cpp's server, or has no such model.
    """
    api = Api(address, seconds)
    try:
        version = api.found("/api/version")
        if isinstance(version, dict) and "version" in version:
            return Ollama(api, model, str(version["version"]), base=base, config=config, work=work)
        if api.found("/props") is not None:
            return LlamaCpp(api, model, file=lora, restart=restart, config=config, work=work)
        raise UpstreamError(
            f"{address}: neither Ollama nor llama.cpp's server, and no other can be given what was learned; export it"
            " ('edgepers export --format peft') and hand it over yourself"
        )
    except BaseException:
        api.close()
        raise
