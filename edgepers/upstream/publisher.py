"""Keeps an upstream at what is published here: gives it each new adapter, asks it, and takes back what it spoils."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgepers.errors import EdgepersError, first_line
from edgepers.evaluate.verdict import Verdict
from edgepers.files import replace_file
from edgepers.upstream.server import Upstream

__all__ = ["Publisher", "Served", "read_served"]

LOOK_SECONDS = 1.0  # between two looks at what is published here
RETRY_SECONDS = 60.0  # where it could not be brought up to date; twice as long each time
MOST_RETRY_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Served:
    """What an upstream was given, kept on disk; nothing of it quotes what was said.

    Attributes:
        name: by which its clients find what is theirs; "" before something was given.
        adapter: that it answers with and was judged with, "" for the base model's answers.
        given: the last one that it was to be given; another than `adapter` while that is judged, and where it was cut
            off. None: nothing yet, or nobody knows.
        refused: the adapter that was taken back, "" for none.
        reason: why it was.
    """

    name: str = ""
    adapter: str = ""
    given: str | None = None
    refused: str = ""
    reason: str = ""


class Publisher:
    """Does so in a thread of its own that looks whether something was published, rolled back or forgotten.

    Args:
        find: the upstream, as it is now.
        upstream: its address, and the model's name there.
        wanted: the adapter that is published here, by its name; "" for none.
        folder_of: the folder of an adapter by its name; None where it is gone, or for "".
        judge: asks the upstream, which has been given an adapter, of that name, and judges its answers; it is given
            what says whether to end early, too.
        file: where it is kept what was given, to each upstream.
        log: gets one line at a time.

    Attributes:
        served: what the upstream was given.
        failure: why that could not be brought up to date; "" where it could.
    """

    def __init__(
        self,
        find: Callable[[], Upstream],
        *,
        upstream: str,
        wanted: Callable[[], str],
        folder_of: Callable[[str], Path | None],
        judge: Callable[[Upstream, str, Callable[[], bool]], Verdict],
        file: Path,
        log: Callable[[str], None],
    ) -> None:
        self._find = find
        self._upstream = upstream
        self._wanted = wanted
        self._folder_of = folder_of
        self._judge = judge
        self._file = file
        self._log = log
        self.served = read_served(file).get(upstream, Served())
        self.failure = ""
        self._looked = False  # whether what the file says of the upstream was found there
        self._pause = RETRY_SECONDS
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Bring it up to date now, and whenever that changes."""
        self._thread = threading.Thread(target=self._run, name="edgepers-upstream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; what was forgotten here is taken back there first."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        for other, served in read_served(self._file).items():
            if other != self._upstream and served.given and self._folder_of(served.given) is None:
                self._log(f"the upstream {other} may still have adapter {served.given}, which is gone here")
        while not self._ending.is_set():
            self.bring_up_to_date()
            self._ending.wait(self._pause if self.failure else LOOK_SECONDS)
        if self.served.given and self._folder_of(self.served.given) is None:
            self._tried(self._withdraw)

    @property
    def _up_to_date(self) -> bool:
        now, wanted = self.served, self._wanted()
        held = not now.adapter or self._folder_of(now.adapter) is not None  # else it was forgotten here
        return held and now.given == now.adapter and wanted in (now.adapter, now.refused or now.adapter)

    def bring_up_to_date(self) -> None:
        """Give it what is published here, unless it has it, or has spoiled it before."""
        if self._looked and self._up_to_date:
            self.failure = ""
            return
        self._tried(self._look_and_give)

    def _tried(self, do: Callable[[Upstream], None]) -> None:
        try:
            with contextlib.closing(self._find()) as upstream:
                do(upstream)
        except Exception as error:  # what another program says can be anything, and this thread must go on
            known = isinstance(error, (EdgepersError, OSError))
            failure = first_line(error) if known else f"{type(error).__name__}, which is not expected of it"
            if failure != self.failure:
                self._log(f"not published at the upstream: {failure}")
            else:
                self._pause = min(2 * self._pause, MOST_RETRY_SECONDS)
            self.failure = failure
        else:
            self.failure, self._pause = "", RETRY_SECONDS

    def _look_and_give(self, upstream: Upstream) -> None:
        if not self._looked:
            if self.served.given is None:
                upstream.require_free()
            elif not upstream.is_there():
                self._keep(replace(self.served, given=None))
            self._looked = True
        if not self._up_to_date:
            self._give(upstream, self._wanted())

    def _give(self, upstream: Upstream, wanted: str) -> None:
        before = replace(self.served, name=upstream.serves)
        self._keep(replace(before, given=wanted))  # first: were it cut off, nobody would know which one it has
        there = upstream.serves or upstream.kind
        try:
            upstream.publish(self._folder_of(wanted))
            verdict = self._judge(upstream, wanted, self._ending.is_set) if wanted else None
        except Exception:
            with contextlib.suppress(Exception):  # what was not judged does not go on answering
                self._take_back(upstream, before)
            raise
        if verdict is None or verdict.publish:
            self._keep(replace(before, adapter=wanted, given=wanted, refused="", reason=""))
            now = f"adapter {wanted} answers" if wanted else "it answers as the base model does"
            self._log(f"at the upstream ({there}): {now}")
            return
        earlier = self._take_back(upstream, before)
        self._keep(replace(self.served, refused=wanted, reason=verdict.reason))
        now = f"adapter {earlier}" if earlier else "the base model"
        self._log(f"at the upstream ({there}): adapter {wanted} spoils its answers ({verdict.reason}); {now} answers")

    def _take_back(self, upstream: Upstream, before: Served) -> str:
        """Have the adapter from before answer again, or the base model where that is gone; its name."""
        earlier = before.adapter if self._folder_of(before.adapter) is not None else ""
        upstream.publish(self._folder_of(earlier))
        self._keep(replace(before, adapter=earlier, given=earlier))
        return earlier

    def _withdraw(self, upstream: Upstream) -> None:
        upstream.publish(None)
        self._keep(replace(self.served, adapter="", given="", refused="", reason=""))

    def _keep(self, served: Served) -> None:
        self.served = served
        every = {name: asdict(one) for name, one in (read_served(self._file) | {self._upstream: served}).items()}
        replace_file(self._file, json.dumps(every, indent=1) + "\n", mode=0o600)


def read_served(file: Path) -> dict[str, Served]:
    """What upstreams were given, by address and name; nothing where the file cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): Served(**served) for name, served in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
