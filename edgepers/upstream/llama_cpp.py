"""llama.cpp's server: what was learned is a LoRA file that it was started with, and that it reads when it starts.

It has no call that reads a file anew. So it is restarted by a command of its owner's or, where it is a router that
starts and ends the servers of its models (`--models-preset`), told to unload the model, which its next request loads.
"""

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepers.errors import UpstreamError
from edgepers.export.gguf_adapter import write_adapter, write_nothing
from edgepers.files import replace_file
from edgepers.model.prompts import messages_of
from edgepers.streams.reasoning import visible_answer
from edgepers.upstream.api import Api

__all__ = ["LlamaCpp", "make_lora_file"]

RESTART_SECONDS = 120.0
_ASKED = "What is your name?"


class LlamaCpp:
    """A server of llama.cpp's.

    Args:
        api: of it.
        model: its name there; a server of one model alone needs none.
        file: the LoRA file that it was started with; it is made where there is none, and changes nothing then.
        restart: command that restarts it, in words as a shell would split them; "" where it is a router.
        config: gives the base model's configuration (transformers').
        work: folder for files on their way, made when it is needed and deleted afterwards.

    Raises:
        UpstreamError: the file is there and no adapter.
    """

    kind = "llama.cpp"

    def __init__(
        self, api: Api, model: str, *, file: Path, restart: str, config: Callable[[], Any], work: Path
    ) -> None:
        self._api = api
        self._model = model
        self._file = file
        self._restart = shlex.split(restart)
        self._config = config
        self.serves = model
        self._work = work
        make_lora_file(file, config, work)

    def close(self) -> None:
        """Close the connections to it."""
        self._api.close()

    def publish(self, adapter: Path | None) -> None:
        """Put an adapter into its file, or one that changes nothing, and have it read that."""
        if not self._restart and not self._is_router():
            raise UpstreamError(
                f"{self._api.address}: no router, and one of a single model reads no file anew; give --upstream-restart"
                " COMMAND, which restarts it"
            )
        _write(self._file, adapter, self._config, self._work)
        self._read_anew()
        if not self.is_there():
            raise UpstreamError(f"{self._api.address}: started without the adapter; give it --lora {self._file}")
        if adapter is None and len({self.answer(_ASKED, adapter=on, max_tokens=8) for on in (True, False)}) > 1:
            raise UpstreamError(f"{self._api.address}: it has not read {self._file} anew; does the command restart it?")

    def _is_router(self) -> bool:
        props = self._api.found("/props")
        return isinstance(props, dict) and props.get("role") == "router"

    def require_free(self) -> None:
        """Its file was looked at when this was made."""

    def is_there(self) -> bool:
        """Whether it was started with the file."""
        return any(Path(str(one.get("path"))).name == self._file.name for one in self._adapters())

    def _read_anew(self) -> None:
        if not self._restart:
            self._unload()
            return
        try:
            done = subprocess.run(
                self._restart,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=RESTART_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UpstreamError(f"--upstream-restart {shlex.join(self._restart)}: {error}") from None
        if done.returncode:
            raise UpstreamError(f"--upstream-restart {shlex.join(self._restart)}: ended with {done.returncode}")
        self._api.until_up("/health", RESTART_SECONDS)

    def _unload(self) -> None:
        try:
            self._api.call("POST", "/models/unload", {"model": self._model})
        except UpstreamError as error:
            if "not loaded" not in str(error) and "not running" not in str(error):
                raise

    def _adapters(self) -> list[dict[str, Any]]:
        path = f"/lora-adapters?model={quote(self._model, safe='')}" if self._model else "/lora-adapters"
        found = self._api.call("GET", path)
        return [one for one in found if isinstance(one, dict) and "id" in one] if isinstance(found, list) else []

    def answer(self, question: str, *, adapter: bool, max_tokens: int) -> str:
        """Its greedy answer, its adapters on or off."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages_of(question),
            "temperature": 0,
            "seed": 0,
            "max_tokens": max_tokens,
            "lora": [{"id": one["id"], "scale": 1.0 if adapter else 0.0} for one in self._adapters()],
        }
        done = self._api.call("POST", "/v1/chat/completions", body)
        try:
            return visible_answer(str(done["choices"][0]["message"]["content"])).strip()
        except (KeyError, TypeError, IndexError):
            raise UpstreamError(f"{self._api.address}/v1/chat/completions: no message in its answer") from None

    def unload(self) -> None:
        """Unload the model, where it is a router; one of a single model keeps it while it runs."""
        if self._is_router():
            self._unload()


def make_lora_file(file: Path, config: Callable[[], Any], work: Path) -> None:
    """Make the file that llama.cpp is to be started with, where there is none: an adapter that changes nothing.

    Raises:
        UpstreamError: there is one, and it is no adapter.
        ModelError: the base model has no name in GGUF.
    """
    if not file.exists():
        _write(file, None, config, work)
    elif not _is_adapter(file):
        raise UpstreamError(f"--upstream-lora {file}: there already, and no adapter in GGUF; give another name")


def _is_adapter(file: Path) -> bool:
    import gguf

    try:
        kind = gguf.GGUFReader(file).fields.get(gguf.Keys.General.TYPE)
    except (OSError, ValueError):
        return False
    return kind is not None and str(kind.contents()) == gguf.GGUFType.ADAPTER


def _write(file: Path, adapter: Path | None, config: Callable[[], Any], work: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(work, ignore_errors=True)  # of one that was cut off
    work.mkdir(parents=True, mode=0o700)
    try:
        made = work / file.name
        if adapter is None:
            write_nothing(config(), made)
        else:
            write_adapter(adapter, config(), made)
        replace_file(file, made.read_bytes(), mode=0o600)
    finally:
        shutil.rmtree(work, ignore_errors=True)
