"""Run the server until it is asked to end."""

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from edgepers.errors import UsageError
from edgepers.personalize import Personalizer
from edgepers.serve.app import build_app
from edgepers.serve.limits import PatientProtocol
from edgepers.serve.notify import notify, watchdog_seconds
from edgepers.serve.options import ServeOptions
from edgepers.serve.serving import Serving

__all__ = ["serve"]

KEEP_ALIVE_SECONDS = 30
END_SECONDS = 5  # for answers that are being given when it is asked to end
MOST_CONNECTIONS = 256


class _Server(uvicorn.Server):
    """Ends at SIGINT and SIGTERM, which is no failure, and in whatever thread it is started; systemd hears of it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._watched, self._told = watchdog_seconds(), 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Say that clients are looked at, three times in the time that systemd allows; uvicorn calls it often."""
        if self._watched and time.monotonic() - self._told > self._watched / 3:
            notify("WATCHDOG=1")
            self._told = time.monotonic()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and end those that there are."""
        notify("STOPPING=1")
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed the signals while it runs."""
        try:
            before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever started it ends it
            yield
            return
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def serve(
    owner: Personalizer,
    options: ServeOptions,
    log: Callable[[str], None],
    on_ready: Callable[[uvicorn.Server, str], None] | None = None,
) -> dict[str, Any]:
    """Serve a state until a signal ends it; what was served, as counts.

    Args:
        owner: open.
        options: of the server.
        log: gets one line at a time, never a talk's text.
        on_ready: is given the server, whose `should_exit` ends it, and its address, before it takes requests.

    Raises:
        UsageError: the address cannot be had, or a file of the options cannot be read.
        EdgepersError: the model cannot be loaded.
    """
    listening = _bound(options)
    with contextlib.closing(listening):
        if options.upstream is None:
            _ = owner.selector  # loads the model, before anybody waits for it
        serving = Serving(owner, options, log)
        try:
            server = _Server(_config(serving))
            address = _address(options, listening)
            _greet(serving, address)
            serving.begin()
            if on_ready is not None:
                on_ready(server, address)
            server.run(sockets=[listening])
        finally:
            serving.close()
    requests, rounds = sum(serving.metrics.requests.values()), serving.rounds.finished
    return {
        "address": address,
        "requests": requests,
        "answers": serving.metrics.answers,
        "exchanges": dict(serving.learner.outcomes),
        "verdicts": dict(serving.learner.verdicts),
        "rounds": rounds,
        "published": owner.buffer.progress.published or None,
    }


def _bound(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(MOST_CONNECTIONS)  # who comes before it is ready waits
    except OSError as error:
        listening.close()
        raise UsageError(
            f"--host {options.host} --port {options.port}: {error.strerror}; give another --port, or 0 for a free one"
        ) from None
    return listening


def _address(options: ServeOptions, listening: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{'http' if options.tls_cert is None else 'https'}://{host}:{listening.getsockname()[1]}"


def _config(serving: Serving) -> uvicorn.Config:
    options, proxied = serving.options, serving.proxy is not None
    try:
        config = uvicorn.Config(
            build_app(serving),
            http=PatientProtocol,
            ws="none",
            log_level="critical",  # its lines would name what was asked for
            access_log=False,
            server_header=False,
            date_header=not proxied,  # the upstream's own passes through
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=END_SECONDS,
            limit_concurrency=MOST_CONNECTIONS,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"--tls-cert {options.tls_cert} --tls-key {options.tls_key}: {error}; give PEM files"
        ) from None
    return config


def _greet(serving: Serving, address: str) -> None:
    options = serving.options
    if options.upstream is not None:
        serving.log(f"{address} passes everything through to {options.upstream}, and learns from what is said there")
        if options.upstream_model is None:
            serving.log("the upstream answers without what is learned; --upstream-model NAME publishes it there")
    else:
        published = serving.owner.buffer.progress.published
        now = f"adapter {published}" if published else "no adapter yet"
        serving.log(f"{address}/v1 serves the models personal ({now}) and base, as OpenAI's API does")
    if not options.learn:
        serving.log("--no-learn: nothing is learned from what is said")
