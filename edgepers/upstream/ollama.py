"""Ollama: what was learned becomes a model of its own there, `NAME-personal`, beside the one that it was made from.

Until 0.34.0 Ollama puts an adapter on a model that it has; later versions refuse adapters (ollama 14969) and are given
the whole model, with the adapter in its weights.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgepers.errors import UpstreamError
from edgepers.export.gguf_adapter import write_adapter
from edgepers.export.gguf_merged import write_merged
from edgepers.model.prompts import messages_of
from edgepers.model.sources import find_gguf
from edgepers.streams.reasoning import visible_answer
from edgepers.upstream.api import Api

__all__ = ["Ollama"]

_LAST_WITH_ADAPTERS = (0, 34, 0)
_PERSONAL = "-personal"
CREATE_SECONDS = 900.0


class Ollama:
    """One model of an Ollama server.

    Args:
        api: of the server.
        model: its tag there, of the base model.
        version: of the server.
        base: what the state calls the base model, whose GGUF file is read.
        config: gives the base model's configuration (transformers').
        work: folder for files on their way, made when it is needed and deleted afterwards.

    Raises:
        UpstreamError: the server has no such model.
    """

    kind = "ollama"

    def __init__(
        self, api: Api, model: str, version: str, *, base: str | None, config: Callable[[], Any], work: Path
    ) -> None:
        self._api = api
        self._model = model
        self._version = version
        self._base = base
        self._config = config
        self._work = work
        self.serves = model + _PERSONAL
        try:
            api.call("POST", "/api/show", {"model": model})
        except UpstreamError as error:
            raise UpstreamError(f"{error}; --upstream-model {model}: give a name that 'ollama list' shows") from None

    def close(self) -> None:
        """Close the connections to it."""
        self._api.close()

    def publish(self, adapter: Path | None) -> None:
        """Make `NAME-personal` answer with an adapter; None: as the base model does."""
        shutil.rmtree(self._work, ignore_errors=True)  # of one that was cut off
        self._unload(self.serves)  # first: else it goes on with what it has in memory
        if adapter is None:
            with contextlib.suppress(UpstreamError):  # there is none yet
                self._api.call("DELETE", "/api/delete", {"model": self.serves})  # with its files, which a copy leaves
            self._api.call("POST", "/api/copy", {"source": self._model, "destination": self.serves})
            return
        self._work.mkdir(parents=True, mode=0o700)
        try:
            if _numbers(self._version) > _LAST_WITH_ADAPTERS or not self._put_on(adapter):
                self._give_whole(adapter)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _put_on(self, adapter: Path) -> bool:
        """Put an adapter on the model that is there; whether that answers: some models there take none."""
        file = self._work / "adapter.gguf"
        write_adapter(adapter, self._config(), file)
        try:
            self._create({"from": self._model, "adapters": {file.name: self._blob(file)}})
            self.answer("Hello", adapter=True, max_tokens=1)
        except UpstreamError:
            return False
        return True

    def _give_whole(self, adapter: Path) -> None:
        base, file = self._base_file(), self._work / "model.gguf"
        write_merged(base, adapter, self._config(), file)
        self._create(self._as_the_base() | {"files": {file.name: self._blob(file)}})

    def require_free(self) -> None:
        """Refuse to replace a model of this name that somebody else has made."""
        if self.is_there():
            raise UpstreamError(
                f"{self._api.address}: a model {self.serves} is there, and not from here; 'ollama rm {self.serves}', or"
                " copy it to another name first"
            )

    def is_there(self) -> bool:
        """Whether `NAME-personal` is."""
        names = self._api.call("GET", "/api/tags")["models"]
        return any(str(one["name"]).removesuffix(":latest") == self.serves.removesuffix(":latest") for one in names)

    def _base_file(self) -> Path:
        file = None if self._base is None else find_gguf(self._base)
        if file is None:
            raise UpstreamError(
                f"{self._api.address}: Ollama {self._version} takes no adapters, and a whole model is made from a GGUF"
                f" file: that needs a state made with --model {self._model} (where Ollama is on this machine) or"
                " --model FILE.gguf"
            )
        return file

    def _blob(self, file: Path) -> str:
        """Send a file, unless it is there; its digest."""
        with file.open("rb") as opened:
            digest = f"sha256:{_digest(opened)}"
        if not self._api.has(f"/api/blobs/{digest}"):
            self._api.send_file(f"/api/blobs/{digest}", file)
        return digest

    def _as_the_base(self) -> dict[str, Any]:
        """Template, system prompt and parameters of the base model there: a file alone has none of its owner's."""
        shown = self._api.call("POST", "/api/show", {"model": self._model})
        made: dict[str, Any] = {key: shown[key] for key in ("template", "system") if shown.get(key)}
        parameters = _parameters(str(shown.get("parameters") or ""))
        return made | ({"parameters": parameters} if parameters else {})

    def _create(self, what: dict[str, Any]) -> None:
        body = {"model": self.serves, "stream": False} | what
        done = self._api.call("POST", "/api/create", body, seconds=CREATE_SECONDS)
        if not isinstance(done, dict) or done.get("status") != "success":
            raise UpstreamError(f"{self._api.address}/api/create: {str(done)[:200]}")

    def answer(self, question: str, *, adapter: bool, max_tokens: int) -> str:
        """Its greedy answer, by `NAME-personal` or by the base model."""
        done = self._api.call(
            "POST",
            "/api/chat",
            {
                "model": self.serves if adapter else self._model,
                "messages": messages_of(question),
                "stream": False,
                "options": {"temperature": 0, "seed": 0, "num_predict": max_tokens},
            },
        )
        try:
            return visible_answer(str(done["message"]["content"])).strip()
        except (KeyError, TypeError):
            raise UpstreamError(f"{self._api.address}/api/chat: no message in its answer") from None

    def unload(self) -> None:
        """Ask it to unload both models."""
        for name in (self._model, self.serves):
            self._unload(name)

    def _unload(self, name: str) -> None:
        with contextlib.suppress(UpstreamError):  # there is none yet, or it cannot be reached, which is met elsewhere
            self._api.call("POST", "/api/generate", {"model": name, "keep_alive": 0})


def _digest(opened: Any) -> str:
    made = hashlib.sha256()
    while part := opened.read(1 << 20):
        made.update(part)
    return made.hexdigest()


def _numbers(version: str) -> tuple[int, ...]:
    """A version's three numbers; what is none counts as new."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else (999, 0, 0)


def _parameters(text: str) -> dict[str, Any]:
    """What Ollama shows of parameters, a name and a value a line, as it takes them: several of a name are a list."""
    found: dict[str, list[Any]] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if not name or not value.strip():
            continue
        try:
            read = json.loads(value.strip())
        except ValueError:
            read = value.strip()
        found.setdefault(name, []).append(read)
    return {name: values if len(values) > 1 or name == "stop" else values[0] for name, values in found.items()}
