"""llama.cpp's server: what was learned is a LoRA file that it was started with, and that it reads when it starts.

It has no call that reads a file anew. So it is restarted by a command of its owner's or, where it is a router that
starts and ends the servers of its models (`--models-preset`), told to unload the model, which its next request loads.
"""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepers.errors import UpstreamError
from edgepers.export.gguf_adapter import write_adapter, write_nothing
from edgepers.files import replace_file
from edgepers.streams.reasoning import visible_answer
from edgepers.upstream.api import Api
from edgepers.upstream.server import chat_turn

__all__ = ["LlamaCpp"]

RESTART_SECONDS = 300.0


class LlamaCpp:
    """A server of llama.cpp's.

    Args:
        api: of it.
        model: its name there; a server of one model alone needs none.
        file: the LoRA file that it was started with; it is made where there is none, and changes nothing then.
        restart: command that restarts it, in words as a shell would split them; "" where it is a router.
        config: gives the base model's configuration (transformers').
    """

    kind = "llama.cpp"

    def __init__(self, api: Api, model: str, *, file: Path, restart: str, config: Callable[[], Any]) -> None:
        self._api = api
        self._model = model
        self._file = file
        self._restart = shlex.split(restart)
        self._config = config
        self.serves = model
        if not file.exists():
            self._write(None)

    def close(self) -> None:
        """Close the connections to it."""
        self._api.close()

    def publish(self, adapter: Path | None) -> None:
        """Put an adapter into its file, or one that changes nothing, and have it read that."""
        self._write(adapter)
        self._read_anew()

    def _write(self, adapter: Path | None) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_name(f".{self._file.name}.made")
        try:
            if adapter is None:
                write_nothing(self._config(), beside)
            else:
                write_adapter(adapter, self._config(), beside)
            replace_file(self._file, beside.read_bytes(), mode=0o600)
        finally:
            beside.unlink(missing_ok=True)

    def _read_anew(self) -> None:
        if not self._restart:
            self._unload("give --upstream-restart COMMAND, which restarts it")
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
        self._require_file()

    def _unload(self, cure: str) -> None:
        try:
            self._api.call("POST", "/models/unload", {"model": self._model})
        except UpstreamError as error:
            if "not loaded" in str(error) or "not running" in str(error):
                return
            raise UpstreamError(f"{error}; it is no router that reads a file anew: {cure}") from None

    def _adapters(self) -> list[dict[str, Any]]:
        path = f"/lora-adapters?model={quote(self._model, safe='')}" if self._model else "/lora-adapters"
        found = self._api.call("GET", path)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _require_file(self) -> None:
        if not any(Path(str(one.get("path"))).name == self._file.name for one in self._adapters()):
            raise UpstreamError(f"{self._api.address}: started without the adapter; give it --lora {self._file}")

    def answer(self, question: str, *, adapter: bool, max_tokens: int) -> str:
        """Its greedy answer, its adapters on or off."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": chat_turn(question),
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
        if not self._restart:
            self._unload("its model stays in memory")
