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

__all__ = ["Publisher", "Served"]

LOOK_SECONDS = 1.0  # between two looks at what is published here
RETRY_SECONDS = 60.0  # where it could not be brought up to date


@dataclass(frozen=True, slots=True)
class Served:
    """What an upstream was given, kept on disk.

    Attributes:
        upstream: its address, and the base model's name there.
        name: by which its clients find what is theirs; "" before something was given.
        adapter: that it answers with and was judged with, "" for the base model's answers.
        given: the last one that it was to be given; another than `adapter` where that was cut off.
        refused: the adapter that was taken back, "" for none.
        reason: why it was.
    """

    upstream: str = ""
    name: str = ""
    adapter: str = ""
    given: str = ""
    refused: str = ""
    reason: str = ""

    @classmethod
    def read(cls, file: Path, upstream: str) -> "Served":
        """What a file says of an upstream; nothing where it speaks of another one, or cannot be read."""
        try:
            found = cls(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls(upstream)
        return found if found.upstream == upstream else cls(upstream)


class Publisher:
    """Does so in a thread of its own that looks whether something was published, rolled back or forgotten.

    Args:
        find: the upstream, as it is now.
        upstream: its address, and the model's name there.
        wanted: the adapter that is published here, by its name; "" for none.
        folder_of: the folder of an adapter by its name; None where it is gone, or for "".
        judge: asks the upstream, which has been given the wanted adapter, and judges its answers.
        file: where it is kept what was given.
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
        judge: Callable[[Upstream, str], Verdict],
        file: Path,
        log: Callable[[str], None],
    ) -> None:
        self._find = find
        self._wanted = wanted
        self._folder_of = folder_of
        self._judge = judge
        self._file = file
        self._log = log
        self.served = Served.read(file, upstream)
        self.failure = ""
        self._ending = threading.Event()
        self._one = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Bring it up to date now, and whenever that changes."""
        self._thread = threading.Thread(target=self._run, name="edgepers-upstream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, once what is being given has been."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self.bring_up_to_date()
            if self._ending.wait(RETRY_SECONDS if self.failure else LOOK_SECONDS):
                return

    @property
    def _up_to_date(self) -> bool:
        now, wanted = self.served, self._wanted()
        held = not now.adapter or self._folder_of(now.adapter) is not None  # else it was forgotten here
        return held and now.given == now.adapter and wanted in (now.adapter, now.refused or now.adapter)

    def bring_up_to_date(self) -> None:
        """Give it what is published here, unless it has it, or has spoiled it before."""
        with self._one:
            if self._up_to_date:
                self.failure = ""
                return
            try:
                with contextlib.closing(self._find()) as upstream:
                    self._give(upstream, self._wanted())
                self.failure = ""
            except (EdgepersError, OSError) as error:
                if first_line(error) != self.failure:
                    self._log(f"not published at the upstream: {first_line(error)}")
                self.failure = first_line(error)

    def _give(self, upstream: Upstream, wanted: str) -> None:
        before = replace(self.served, name=upstream.serves)
        self._keep(replace(before, given=wanted))  # first: were it cut off, nobody would know which one it has
        upstream.publish(self._folder_of(wanted))
        there = upstream.serves or upstream.kind
        verdict = self._judge(upstream, wanted) if wanted else None
        if verdict is None or verdict.publish:
            self._keep(replace(before, adapter=wanted, given=wanted, refused="", reason=""))
            now = f"adapter {wanted} answers" if wanted else "it answers as the base model does"
            self._log(f"at the upstream ({there}): {now}")
            return
        earlier = before.adapter if self._folder_of(before.adapter) is not None else ""
        self._keep(replace(before, given=earlier))
        upstream.publish(self._folder_of(earlier))
        self._keep(replace(before, adapter=earlier, given=earlier, refused=wanted, reason=verdict.reason))
        now = f"adapter {earlier}" if earlier else "the base model"
        self._log(f"at the upstream ({there}): adapter {wanted} spoils its answers; {now} answers; the page says why")

    def _keep(self, served: Served) -> None:
        self.served = served
        replace_file(self._file, json.dumps(asdict(served)) + "\n", mode=0o600)
