"""Learn from what was said: offer it to the selector, take verdicts by the answer's name, leave out what is no lesson.

The same session as the chat at a terminal does it.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from edgepers.chat.session import Exchange, Session
from edgepers.errors import BusyError, EdgepersError, StateError
from edgepers.personalize import Personalizer
from edgepers.serve.heard import Exchanged, heard_in
from edgepers.serve.hints import hints_of
from edgepers.serve.lessons import Call, Lesson, lesson_of
from edgepers.serve.quiet import QuietTalks
from edgepers.serve.talks import Talks

__all__ = ["Learner"]


class Learner:
    """What is learned over one state; threads may share it.

    Args:
        owner: open.
        log: gets one line of what could not be kept.
        quiet: talks from which nothing is learned.
        learn: False: nothing is, but verdicts are taken.

    Attributes:
        session: that it speaks through.
        outcomes: calls by what became of them: "kept", "dropped", "repeat" (its question is there), or what kept it
            from being a lesson.
        verdicts: by kind, "good", "corrected", "bad", and answers that were "rejected" by asking again.
    """

    def __init__(
        self, owner: Personalizer, log: Callable[[str], None], quiet: QuietTalks, *, learn: bool = True
    ) -> None:
        self.owner = owner
        self._log = log
        self._quiet = quiet
        self.session = Session(owner)
        self.outcomes: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self._learns = learn
        self._talks = Talks()
        self._lock = threading.Lock()

    def hear(self, call: Call, answer: str, name: str, *, whole: bool) -> None:
        """A call was answered: learn from it what may be learned, durably.

        Args:
            call: what was asked.
            answer: what was said.
            name: of the answer.
            whole: False where it was cut, or nobody waited for it.
        """
        learns = self._learns and call.hints.session not in self._quiet
        lesson = lesson_of(call, answer, whole=whole) if learns else "asked_not_to"
        with self._lock:
            try:
                outcome = lesson if isinstance(lesson, str) else self._offer(lesson, call.hints.session, name)
            except EdgepersError as error:
                self._log(f"not learned: {error}")
                outcome = "failed"
            self.outcomes[outcome] += 1
            if call.hints.done and call.hints.session:
                self._talks.done(call.hints.session)

    def overhear(self, exchanged: Exchanged) -> None:
        """What has passed through to an upstream and back: learn from it in the same way."""
        heard = heard_in(exchanged)
        if heard is None:
            self.outcomes["unreadable"] += 1
            return
        call = Call(messages=heard.messages, hints=hints_of(heard.headers), calls_tools=heard.calls_tools)
        self.hear(call, heard.answer, heard.name, whole=heard.whole)

    def _offer(self, lesson: Lesson, session: str, name: str) -> str:
        for position in self._talks.replaced(session, lesson.turns, lesson.answer):
            self._reject(position)
        before = self._talks.before(session, lesson.turns)
        if before is not None and (exchange := self._known(before)) is not None:
            self.session.doubt(exchange, lesson.turns[-1].text)
        exchange = self.session.hear(lesson.question, lesson.answer, name)
        self._talks.note(session, lesson.turns, lesson.answer, exchange.position)
        if exchange.decision.reason == "repeat":
            return "repeat"
        return "kept" if exchange.decision.admitted else "dropped"

    def _reject(self, position: int) -> None:
        """Its owner did not keep an answer; where it is still there, and nobody has judged it, it was wrong."""
        exchange = self._known(position)
        if exchange is None or exchange.verdict:
            return
        if self.owner.verdicts.holds(position):
            self.session.judge(None, position, bad=True)
            self.verdicts["rejected"] += 1
        elif exchange.decision.same is not None:  # it was counted on a set whose answer may be another
            self.session.take_answer_back(exchange)

    def _known(self, position: int) -> Exchange | None:
        """The exchange at a position, None where it is neither kept nor among the last ones."""
        try:
            return self.session.exchange(position)
        except StateError:
            return None

    def judge(self, name: str, reference: str | None, *, bad: bool = False) -> dict[str, Any]:
        """Take a verdict on an answer by its name; what was noted.

        Args:
            name: of the answer.
            reference: what it should have said; None: see `bad`.
            bad: it was wrong, not fine.

        Raises:
            StateError: no such answer is known.
            UsageError: the reference is empty.
            BusyError: it was not kept, and to keep it now takes the model, which a round has.
        """
        return {"id": name, **self.judge_set(self.session.named(name).position, reference, bad=bad)}

    def judge_set(self, position: int, reference: str | None, *, bad: bool = False) -> dict[str, Any]:
        """The same by the set's position, which is known of every set that is kept."""
        if self.owner.model_is_away and not self.owner.verdicts.holds(position):
            raise BusyError("a round has all the memory; send the verdict again when it has ended")
        said = self.session.judge(reference, position, bad=bad)
        verdict = self.session.exchange(position).verdict
        self.verdicts[verdict or "refused"] += 1
        return {"set": position, "verdict": verdict or None, "message": said}
