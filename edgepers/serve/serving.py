"""Everything that one running server has, made in the order in which it depends on itself and ended in reverse."""

import time
from collections.abc import Callable

from edgepers.personalize import Personalizer
from edgepers.serve.answer import Answering
from edgepers.serve.heard import Exchanged
from edgepers.serve.learner import Learner
from edgepers.serve.limits import where
from edgepers.serve.metrics import Metrics
from edgepers.serve.options import ServeOptions
from edgepers.serve.proxy import Proxy
from edgepers.serve.quiet import QuietTalks
from edgepers.serve.rounds import Rounds
from edgepers.serve.there import publisher_for, unload_there
from edgepers.serve.worker import Worker
from edgepers.upstream.publisher import Publisher

__all__ = ["Serving"]

PROXY_QUIET_SECONDS = 3.0  # without a request before the model here is used, which the upstream's shares the box with


class Serving:
    """One server over one state; close it when no request is left.

    Args:
        owner: open.
        options: of the server.
        log: gets one line at a time, never a talk's text.

    Attributes:
        began: seconds since 1970.
        proxy: where there is an upstream.
        publisher: where the upstream is given what was learned.
    """

    def __init__(self, owner: Personalizer, options: ServeOptions, log: Callable[[str], None]) -> None:
        self.owner = owner
        self.options = options
        self.log = log
        self.began = int(time.time())
        self.metrics = Metrics()
        self.quiet = QuietTalks(owner.state.rounds / "quiet.json")
        self.learner = Learner(owner, log, self.quiet, learn=options.learn)
        self.worker = Worker(
            options.waiting, calm=self._calm, on_fault=lambda error: log(f"a chore failed: {where(error)}")
        )
        self.answering = Answering(owner, self.worker, self.learner)
        self.proxy = None
        if options.upstream is not None:
            self.proxy = Proxy(options.upstream, self._heard)
        self.publisher: Publisher | None = None
        if options.upstream_model is not None:
            self.publisher = publisher_for(owner, options, log)
        self.rounds = Rounds(owner, self._idle_seconds, log, before=self._before_round, after=self._after_round)

    def begin(self) -> None:
        """Do rounds by themselves from now on, and publish them at the upstream."""
        self.rounds.begin()
        if self.publisher is not None:
            self.publisher.begin()

    def _before_round(self) -> None:
        if self.publisher is not None:
            unload_there(self.owner, self.options, self.log)

    def _after_round(self) -> None:
        if self.proxy is not None:  # the memory is the upstream's again
            self.owner.llm.unload()

    def _heard(self, exchanged: Exchanged) -> None:
        self.worker.later(lambda: self.learner.overhear(exchanged))

    def _calm(self) -> bool:
        quiet = self.proxy is None or self.proxy.idle_seconds >= PROXY_QUIET_SECONDS
        return quiet and not self.owner.model_is_away

    def _idle_seconds(self) -> float:
        idle = self.worker.idle_seconds
        return idle if self.proxy is None else min(idle, self.proxy.idle_seconds)

    def close(self) -> None:
        """Stop the round that is under way, learn from what was heard, and end."""
        self.rounds.close()
        if self.publisher is not None:
            self.publisher.close()
        self.worker.close()
