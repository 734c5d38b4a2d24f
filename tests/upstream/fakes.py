"""Servers with the interfaces of Ollama and of llama.cpp, as their documentation has them, that say what they are told.

Which adapter they have they read from the files that they were given, without our own code.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.serve.upstream import in_thread

Answer = tuple[int, Any]  # status, and what is said: bytes as they are, anything else as JSON
Say = Callable[[str, bytes | None], str]  # a question, and the file of the model or adapter that answers


@dataclass
class Fake:
    """A server that is up.

    Attributes:
        address: of it.
        version: that it claims to be of.
        say: what it answers.
        models: by name, what was created, or None for a base model.
        blobs: by digest, the files that it was sent.
        calls: method, path and body of each request.
        lora: the file that a llama.cpp is started with, and what it then read of it.
        router: whether it is one.
        takes_none: of an Ollama, whose engine for this model loads no adapters.
        down: it refuses everything.
    """

    address: str = ""
    version: str = "0.34.1"
    say: Say = lambda question, file: "I do not know."
    models: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    lora: Path | None = None
    loaded: bytes | None = None
    router: bool = False
    takes_none: bool = False
    down: bool = False

    def bodies(self, path: str) -> list[Any]:
        """What was sent to a path."""
        return [body for _, where, body in self.calls if where == path]

    def start(self) -> None:
        """Read the LoRA file, as llama.cpp does when it starts."""
        self.loaded = None if self.lora is None else self.lora.read_bytes()


def factor(file: bytes | None, tmp: Path) -> float:
    """The largest weight of a LoRA file's lora_b tensors; 0 for none."""
    if file is None:
        return 0.0
    (tmp / "read.gguf").write_bytes(file)
    reader = gguf.GGUFReader(tmp / "read.gguf")
    return max(float(np.abs(one.data).max()) for one in reader.tensors if one.name.endswith("lora_b"))


@contextlib.contextmanager
def ollama(**given: Any) -> Iterator[Fake]:
    """An Ollama with the model `tiny`."""
    here = Fake(**given)
    here.models.setdefault("tiny", None)

    def blob(method: str, path: str, body: Any) -> Answer:
        digest = path.rpartition("/")[2]
        if method == "HEAD":
            return (200 if digest in here.blobs else 404), None
        here.blobs[digest] = body
        return (201, None) if f"sha256:{hashlib.sha256(body).hexdigest()}" == digest else (400, {"error": "digest"})

    def copy(body: Any) -> Answer:
        here.models[body["destination"]] = here.models[body["source"]]
        return 200, None

    def delete(body: Any) -> Answer:
        if body["model"] not in here.models:
            return 404, {"error": f"model '{body['model']}' not found"}
        made = here.models.pop(body["model"])
        here.blobs = {name: data for name, data in here.blobs.items() if made is None or data != made["data"]}
        return 200, None

    def tags(_: Any) -> Answer:
        return 200, {"models": [{"name": name if ":" in name else f"{name}:latest"} for name in here.models]}

    def create(body: Any) -> Answer:
        if "adapters" in body and [int(part) for part in here.version.split(".")] >= [0, 34, 1]:
            return 400, {"error": "adapters are no longer supported"}
        (digest,) = (body.get("adapters") or body["files"]).values()
        here.models[body["model"]] = body | {"data": here.blobs[digest]}
        return 200, {"status": "success"}

    def show(_: Any) -> Answer:
        return 200, {"template": "{{ .Prompt }}", "system": "Be brief.", "parameters": PARAMETERS, "model_info": {}}

    def chat(body: Any) -> Answer:
        made = here.models[body["model"]]
        if made is not None and "adapters" in made and here.takes_none:
            return 500, {"error": "loras are not yet implemented"}
        said = here.say(body["messages"][-1]["content"], None if made is None else made["data"])
        if not body.get("stream", True):
            return 200, {"message": {"role": "assistant", "content": said}, "done": True}
        parts = [{"message": {"role": "assistant", "content": word}, "done": False} for word in said.split(" ")]
        for part in parts[1:]:
            part["message"]["content"] = " " + part["message"]["content"]
        end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
        return 200, "".join(json.dumps(part) + "\n" for part in [*parts, end]).encode()

    def generate(_: Any) -> Answer:
        return 200, {"done": True, "done_reason": "unload"}

    of_a_model = {"/api/show": show, "/api/chat": chat, "/api/generate": generate}

    def answer(method: str, path: str, body: Any) -> Answer:
        if path.startswith("/api/blobs/"):
            return blob(method, path, body)
        if path in of_a_model and body["model"] not in here.models:
            return 404, {"error": f"model '{body['model']}' not found"}
        known = {"/api/version": lambda _: (200, {"version": here.version}), "/api/copy": copy, "/api/create": create}
        known |= {"/api/delete": delete, "/api/tags": tags}
        return (known | of_a_model).get(path, lambda _: (404, {"error": "no such path"}))(body)

    with _serving(here, answer) as made:
        yield made


PARAMETERS = (
    'stop                           "<|im_start|>"\nstop                           "<|im_end|>"\nnum_ctx 4096\n'
)


@contextlib.contextmanager
def llama_cpp(lora: Path | None = None, **given: Any) -> Iterator[Fake]:
    """A llama.cpp's server, started with a LoRA file."""
    here = Fake(lora=lora, **given)

    def adapters(query: str) -> Answer:
        if here.router and "model=" not in query:
            return 400, {"error": {"message": "model name is missing from the request"}}
        return 200, [] if here.lora is None else [{"id": 0, "path": str(here.lora), "scale": 1.0}]

    def unload() -> Answer:
        here.start()
        return 200, {"success": True}

    def chat(body: Any) -> Answer:
        on = any(one["scale"] for one in body["lora"])
        said = here.say(body["messages"][-1]["content"], here.loaded if on else None)
        return 200, {"choices": [{"message": {"role": "assistant", "content": said}}]}

    def answer(_: str, path: str, body: Any) -> Answer:
        path, _, query = path.partition("?")
        known = {
            "/health": lambda: (200, {"status": "ok"}),
            "/props": lambda: (200, {"role": "router"} if here.router else {"build_info": "b1"}),
            "/lora-adapters": lambda: adapters(query),
            "/v1/chat/completions": lambda: chat(body),
        } | ({"/models/unload": unload} if here.router else {})
        return known.get(path, lambda: (404, {"error": {"message": "File Not Found", "code": 404}}))()

    if lora is not None and lora.exists():
        here.start()
    with _serving(here, answer) as made:
        yield made


@contextlib.contextmanager
def _serving(here: Fake, answer: Callable[[str, str, Any], Answer]) -> Iterator[Fake]:
    class Handler(BaseHTTPRequestHandler):
        def _all(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(data) if self.headers.get("content-type") == "application/json" else data
            here.calls.append((self.command, self.path, body))
            status, said = (503, {"error": "down"}) if here.down else answer(self.command, self.path, body)
            out = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_POST = do_HEAD = do_DELETE = _all

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with in_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as here.address:
        yield here
