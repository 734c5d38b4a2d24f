"""What a chat does, without a terminal: answer, offer, take verdicts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgepers.errors import StateError
from edgepers.personalize import Personalizer
from edgepers.select.selector import Decision
from edgepers.state.forget import find, forget
from edgepers.state.records import SPOKEN
from edgepers.streams import Arrival, DialogueSet

__all__ = ["CHAT_TOKENS", "Exchange", "Session"]

CHAT_TOKENS = 256  # of one answer, at most


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, what the model answered, and what the selector made of it."""

    question: str
    answer: str
    decision: Decision
    verdict: str = ""  # "good" or "corrected" once the owner has said so


class Session:
    """One chat over one state; every question stands alone, as it will when it is learned.

    Attributes:
        last: the exchange that the commands speak of.
        exchanges: how many there were.
        kept: how many of them the selector took.
        verdicts: how many the owner judged.
    """

    def __init__(self, owner: Personalizer) -> None:
        self.owner = owner
        self.last: Exchange | None = None
        self.exchanges = self.kept = self.verdicts = 0
        owner.selector.explains = True  # for /why

    def ask(self, question: str, told: Callable[[str], None]) -> Exchange:
        """Answer, piece by piece to `told`, and offer the exchange to the selector, durably."""
        answer = self.owner.reply(question, told, max_new_tokens=CHAT_TOKENS)
        self.exchanges += 1
        decision = self._offer(DialogueSet(question, answer or "..."))
        self.kept += decision.admitted
        self.last = Exchange(question, answer or "...", decision)
        return self.last

    def _offer(self, dialogue: DialogueSet) -> Decision:
        """A chat comes between a stream and its next set: what the stream has decided past its cursor is skipped when it goes on."""
        buffer = self.owner.buffer
        progress = buffer.progress.copy()
        progress.batch_skip += progress.position - progress.batch_position
        progress.batch_position = progress.position + 1
        buffer.progress = progress
        spoken = Arrival(dialogue, SPOKEN, replace(SPOKEN, invalid=progress.invalid))
        with self.owner.energy.stage("select"):
            (decision,) = self.owner.selector.offer([spoken], progress.position)
        buffer.save(buffer.progress.copy())
        return decision

    def base(self) -> str:
        """What the base model answers to the last question."""
        (answer,) = self.owner.answer([self._exchange().question], adapter=False, max_new_tokens=CHAT_TOKENS)
        return answer

    def _exchange(self) -> Exchange:
        if self.last is None:
            raise StateError("nothing has been asked yet; ask something first")
        return self.last

    @property
    def may_ask(self) -> bool:
        """Whether the last exchange was just kept and this round's number of requests is not used up."""
        if self.last is None or not self.last.decision.admitted or self.last.verdict:
            return False
        number = self.owner.round_number
        asked = sum(kept.asked == number for kept in self.owner.buffer)
        return asked < self.owner.settings.annotations_per_round

    def asked(self) -> None:
        """Remember that the owner was asked about the last exchange and has not answered."""
        exchange = self._exchange()
        if exchange.decision.admitted and not exchange.verdict:
            self.owner.selector.mark_asked(exchange.decision.position, self.owner.round_number)

    def judge(self, reference: str | None) -> str:
        """Take a verdict on the last exchange: what it should have said, or None for "fine as it is". Returns a line about it."""
        exchange = self._exchange()
        if exchange.verdict and reference is None:
            return f"noted already: {exchange.verdict}"
        selector, number, decision = self.owner.selector, self.owner.round_number, exchange.decision
        if decision.admitted:
            refusal = selector.annotate(decision.position, reference, number)
        else:
            dialogue = DialogueSet(exchange.question, exchange.answer)
            refusal = selector.keep(Arrival(dialogue, SPOKEN, SPOKEN), decision, reference, number)
            if not refusal:
                decision = replace(
                    decision, admitted=True, reason="", why=f"kept since you judged it; before that: {decision.why}"
                )
        if refusal:
            return {
                "too_big": "too long to keep inside the storage budget",
                "no_room": "no room: everything kept was judged by you",
            }[refusal]
        self.verdicts += not exchange.verdict
        verdict = self.owner.buffer.get(decision.position).verdict
        self.last = replace(exchange, decision=decision, verdict=verdict)
        return "noted: fine as it was" if verdict == "good" else "noted: it will learn that"

    def why(self) -> str:
        """Why the last exchange was kept or dropped."""
        return self._exchange().decision.why

    def forget(self, matching: str = "") -> str:
        """Forget the last exchange, or everything kept that holds a text; says what was withdrawn."""
        state, buffer = self.owner.state, self.owner.buffer
        if matching:
            sets = find(buffer, matching=matching)
        else:
            decision = self._exchange().decision
            if not decision.admitted:
                return "it was not kept, so there is nothing to forget"
            sets = find(buffer, name=str(decision.position))
        done = forget(state, buffer, sets)
        self.owner.selector.reload()
        if self.last is not None and self.last.decision.position in done["forgotten"]:
            self.last = None
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
