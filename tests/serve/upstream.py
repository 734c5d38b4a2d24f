"""A server that stands for Ollama, llama.cpp or vLLM: it writes the bytes that a test gives it, when it says so."""

import contextlib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Upstream:
    """One that is up.

    Attributes:
        address: of it.
        heard: the bytes of each request, head and body.
        parts: what it answers next, piece by piece; a number is a pause in seconds.
        parts_for: gives them by the number of the request, in place of `parts`.
        left: requests whose client had gone before all was written.
    """

    address: str = ""
    heard: list[bytes] = field(default_factory=list)
    parts: list[bytes | float] = field(default_factory=list)
    left: int = 0
    parts_for: Callable[[int], list[bytes | float]] | None = None


def _body_end(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    low = head.lower()
    if not found:
        return False
    if b"transfer-encoding: chunked" in low:
        return body.endswith(b"0\r\n\r\n")
    length = low.partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
    return len(body) >= int(length or b"0")


@contextlib.contextmanager
def upstream() -> Iterator[Upstream]:
    """Serve until the block ends; one request a connection."""
    here = Upstream()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data = b""
            while not _body_end(data):
                if not (part := self.request.recv(65536)):
                    return
                data += part
            here.heard.append(data)
            try:
                number = len(here.heard) - 1
                for part in here.parts if here.parts_for is None else here.parts_for(number):
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        self.request.sendall(part)
            except OSError:
                here.left += 1

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with in_thread(Server(("127.0.0.1", 0), Handler)) as here.address:
        yield here


@contextlib.contextmanager
def in_thread(server: socketserver.TCPServer) -> Iterator[str]:
    """Have a server serve until the block ends; its address."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
