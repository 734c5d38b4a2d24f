"""What a chat does, without a terminal: answer, offer, take verdicts."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgepers.annotate.reasons import reasons
from edgepers.errors import StateError
from edgepers.personalize import Personalizer
from edgepers.select.decision import Decision
from edgepers.state.forget import find, forget
from edgepers.state.records import SPOKEN, KeptSet
from edgepers.streams import Arrival, DialogueSet
from edgepers.streams.doubts import doubts

__all__ = ["CHAT_TOKENS", "MOST_REMEMBERED", "Exchange", "Session"]

CHAT_TOKENS = 256  # of one answer, at most
MOST_REMEMBERED = 256  # exchanges that can still be judged


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, what the model answered, and what the selector made of it."""

    question: str
    answer: str
    decision: Decision
    verdict: str = ""  # "good", "corrected" or "bad" once the owner has said so
    id: str = ""  # by which a program that answered calls it

    @property
    def position(self) -> int:
        """Its place in the state's order, by which it is known."""
        return self.decision.position


class Session:
    """What is said over one state, at a terminal or to a server, and what its owner says of it.

    Exchanges are known by their position in the state's order, so that several pages may speak of their own; the last
    one is meant where no position is given. Threads may share a session.

    Attributes:
        last: the exchange that was asked last, None before the first and after it was forgotten.
        exchanges: how many there were.
        kept: how many of them the selector took.
        verdicts: how many the owner judged.
    """

    def __init__(self, owner: Personalizer) -> None:
        self.owner = owner
        self.last: Exchange | None = None
        self.exchanges = self.kept = self.verdicts = 0
        self._remembered: OrderedDict[int, Exchange] = OrderedDict()
        self._before: OrderedDict[int, tuple[int, KeptSet]] = OrderedDict()  # the round, and the set before its verdict
        owner.selector.explains = True  # for /why

    def ask(self, question: str, on_text: Callable[[str], None]) -> Exchange:
        """Answer, piece by piece to `on_text`, and offer the exchange to the selector, durably."""
        if (last := self.last) is not None:
            self.doubt(last, question)
        answer = self.owner.reply(question, on_text, max_new_tokens=CHAT_TOKENS) or "..."
        return self.hear(question, answer)

    def hear(self, question: str, answer: str, id: str = "") -> Exchange:
        """Offer an exchange to the selector, durably, whoever has answered; `id` is the answer's name there."""
        with self.owner.buffer.lock:
            with self.owner.metered("select"):
                decision = self.owner.selector.offer_spoken(DialogueSet(question, answer, id=id or None))
            self.exchanges += 1
            self.kept += decision.admitted
            exchange = Exchange(question, answer, decision, id=id)
            self._remember(exchange)
            self.last = exchange
            return exchange

    def doubt(self, before: Exchange, said: str) -> None:
        """Note of an exchange whether what was said after it takes its answer back."""
        if doubts(before.answer, said):
            self.take_answer_back(before)

    def take_answer_back(self, exchange: Exchange) -> None:
        """Note that an answer was not what was wanted, on the set that it was kept or counted on; a verdict stands."""
        buffer = self.owner.buffer
        with buffer.lock:
            position = exchange.position if exchange.decision.same is None else exchange.decision.same
            if position in buffer.marks and not buffer.marks[position].annotated:
                buffer.doubt(position)

    def _remember(self, exchange: Exchange) -> None:
        self._remembered[exchange.position] = exchange
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        if self.last is not None and self.last.position == exchange.position:
            self.last = exchange

    def base(self, position: int | None = None) -> str:
        """What the base model answers to the question of an exchange."""
        question = self.exchange(position).question
        (answer,) = self.owner.answer([question], adapter=False, max_new_tokens=CHAT_TOKENS)
        return answer

    def exchange(self, position: int | None = None) -> Exchange:
        """The exchange at a position; the last one by default.

        Raises:
            StateError: there is none.
        """
        if position is None:
            if self.last is None:
                raise StateError("nothing has been asked yet; ask something first")
            return self.last
        with self.owner.buffer.lock:
            if position not in self._remembered and position in self.owner.buffer.marks:
                return self._recalled(self.owner.buffer.get(position))
            if position not in self._remembered:
                raise StateError(
                    f"exchange {position} is not one of the last {MOST_REMEMBERED} of this chat, and was not kept; ask"
                    " the question again"
                )
            return self._remembered[position]

    def named(self, id: str) -> Exchange:
        """The exchange whose answer has this name, also one that was kept before this session began.

        Raises:
            StateError: there is none.
        """
        with self.owner.buffer.lock:
            for exchange in reversed(self._remembered.values()):
                if id and exchange.id == id:
                    return exchange
            for kept in self.owner.buffer:
                if id and kept.id == id:
                    return self._recalled(kept)
        raise StateError(
            f"answer {id[:60]!r} is not one of the last {MOST_REMEMBERED}, and was not kept; ask the question again"
        )

    def _recalled(self, kept: KeptSet) -> Exchange:
        """The exchange that a kept set is."""
        scores = (kept.domain, kept.entropy, kept.domain_score, math.nan)
        decision = Decision(kept.position, True, "", (), *scores, "kept before this session began", kept.question)
        exchange = Exchange(kept.question, kept.response, decision, kept.verdict, kept.id)
        self._remember(exchange)
        return exchange

    @property
    def may_ask(self) -> bool:
        """Whether the last exchange was just kept and this round's number of requests is not used up."""
        if self.last is None or not self.last.decision.admitted or self.last.verdict:
            return False
        asked = self.owner.buffer.marks.asked_in(self.owner.verdict_round)
        return asked < self.owner.settings.annotations_per_round

    def asked(self, position: int | None = None) -> None:
        """Remember that the owner was asked about an exchange and has not answered."""
        with self.owner.buffer.lock:
            exchange = self.exchange(position)
            if self.owner.verdicts.holds(exchange.position) and not exchange.verdict:
                before = self.owner.buffer.get(exchange.position)
                self.owner.verdicts.mark_asked(exchange.position, self.owner.verdict_round)
                self._note_before(before)

    def judge(self, reference: str | None, position: int | None = None, *, bad: bool = False) -> str:
        """Take a verdict on an exchange, the last by default, and return a line about it.

        It takes the place of an earlier one, but for "fine as it is" after a correction.

        Args:
            reference: what it should have said; None: "fine as it is", or with `bad` "wrong", and no more than that.
            position: of the exchange.
            bad: see `reference`.

        Raises:
            StateError: there is no such exchange.
            UsageError: the reference is empty.
        """
        with self.owner.buffer.lock:
            exchange = self.exchange(position)
            if reference is None and exchange.verdict in (("bad",) if bad else ("good", "corrected")):
                return f"noted already: {exchange.verdict}"
            held = self.owner.verdicts.holds(exchange.position)
            before = self.owner.buffer.get(exchange.position) if held else None
            refusal, decision = self._take(exchange, reference, bad=bad)
            if refusal:
                return {
                    "too_big": "too long to keep inside the storage budget",
                    "no_room": "no room: everything kept was judged by you",
                    "left": "too late: it has left since, to make room for others; ask again",
                }[refusal]
            self.verdicts += not exchange.verdict
            now = self.owner.buffer.get(exchange.position)
            verdict = now.verdict
            self._note_before(before or replace(now, verdict="", reference=None, asked=0))
            self._remember(replace(exchange, decision=decision, verdict=verdict))
        return {
            "good": "noted: fine as it was",
            "corrected": "noted: it will learn that",
            "bad": "noted: that was wrong; it learns what is right from a correction alone",
        }[verdict]

    def _take(self, exchange: Exchange, reference: str | None, *, bad: bool) -> tuple[str, Decision]:
        """Why a verdict could not be kept, "" where it was, and what became of the exchange."""
        selector, number, decision = self.owner.selector, self.owner.verdict_round, exchange.decision
        if selector.holds(exchange.position):
            return selector.annotate(exchange.position, reference, number, bad=bad), decision
        if decision.admitted:
            return "left", decision
        spoken = Arrival(DialogueSet(exchange.question, exchange.answer, id=exchange.id or None), SPOKEN, SPOKEN)
        refusal = selector.keep(spoken, decision, reference, number, bad=bad)
        if refusal:
            return refusal, decision
        why = f"kept since you judged it; before that: {decision.why}"
        return "", replace(decision, admitted=True, reason="", why=why, same=None)

    def _note_before(self, before: KeptSet) -> None:
        self._before[before.position] = self.owner.verdict_round, before
        self._before.move_to_end(before.position)
        if len(self._before) > MOST_REMEMBERED:
            self._before.popitem(last=False)

    def take_back(self, position: int) -> str:
        """Take back the last verdict on an exchange, or that its owner passed over it, and return a line about it.

        Raises:
            StateError: none was given here, or a round has begun since, which has read it.
        """
        with self.owner.buffer.lock:
            number, before = self._before.get(position, (0, None))
            if before is None:
                raise StateError(f"exchange {position}: no verdict of this chat to take back; judge it anew")
            if number != self.owner.verdict_round:
                raise StateError(
                    f"exchange {position}: a round has read the verdict since; judge it anew, or forget it"
                )
            exchange = self.exchange(position)
            if not self.owner.verdicts.take_back(before):
                raise StateError(f"exchange {position}: it has left since, to make room for others; ask again")
            del self._before[position]
            self.verdicts -= bool(exchange.verdict) and not before.verdict
            self._remember(replace(exchange, verdict=before.verdict))
        return "taken back"

    def why(self, position: int | None = None) -> str:
        """Why an exchange was kept or dropped, and of one that nobody has judged, what speaks for judging it."""
        buffer = self.owner.buffer
        with buffer.lock:
            decision = self.exchange(position).decision
            here = decision.position if decision.same is None else decision.same
            if here not in buffer.marks or buffer.marks[here].annotated:
                return decision.why
            (reason,) = reasons(self.owner.verdicts, [buffer.get(here)], self.owner.settings.ask)
        return f"{decision.why}\nnot judged: {reason}"

    def forget(self, matching: str = "", position: int | None = None) -> str:
        """Forget an exchange, the last by default, or everything kept that holds a text; says what was withdrawn.

        Of an exchange that was counted on a kept one, which asks the same, that one is forgotten.
        A round that is under way in the background may have it before its eyes: it is stopped first.
        """
        state, buffer = self.owner.state, self.owner.buffer
        self.owner.stop_round()
        with buffer.lock:
            if matching:
                sets = find(buffer, matching=matching)
            else:
                decision = self.exchange(position).decision
                position = decision.position
                if position not in buffer.marks and decision.same is not None:
                    position = decision.same  # its words are kept there
                if position not in buffer.marks:
                    return "it was not kept, so there is nothing to forget"
                sets = [buffer.get(position)]
            try:
                done = forget(state, buffer, sets)
            finally:
                self.owner.selector.reload()
            gone_for_good = set(done["forgotten"])
            said = [*self._remembered.values(), *([self.last] if self.last else [])]
            for exchange in said:
                if exchange.position in gone_for_good or exchange.decision.same in gone_for_good:
                    self._remembered.pop(exchange.position, None)
                    self._before.pop(exchange.position, None)
                    self.last = None if self.last is exchange else self.last
        gone = f"forgot {len(done['forgotten'])} of what was kept"
        if not done["withdrawn"]:
            return gone
        now = done["published"] or "the base model"
        return f"{gone}; withdrew adapter {', '.join(done['withdrawn'])}, which had learned it; published now: {now}"

    def round(self) -> dict[str, Any]:
        """Learn now from what was judged."""
        return self.owner.round()

    @property
    def round_is_due(self) -> bool:
        """Whether as many sets have come as a round waits for."""
        return self.owner.buffer.progress.position >= self.owner.next_round
