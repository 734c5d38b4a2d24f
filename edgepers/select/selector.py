"""Score the sets of a micro-batch and decide on each: one durable transaction an admission, nothing written for a drop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgepers.errors import StateError, UsageError
from edgepers.select.explain import explain
from edgepers.select.index import Index, newcomer_of
from edgepers.select.lexicon import Lexicons, load_lexicons
from edgepers.select.policies import policy_named, shrink_order
from edgepers.select.policy import Kept, Policy, Room
from edgepers.select.scores import CENTER_SETS, Encoder, Score, Scored, score_texts
from edgepers.state.buffer import Buffer
from edgepers.state.embedding import stored_width
from edgepers.state.records import CenterSum, KeptSet, pack_record
from edgepers.streams import Arrival

__all__ = ["Decision", "Selector"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one set."""

    position: int
    admitted: bool
    reason: str  # "" where admitted; "policy" or "too_big" where dropped
    evicted: tuple[int, ...]
    domain: str
    entropy: float
    domain_score: float
    dissimilarity: float
    why: str  # one line for the owner, where the selector explains
    question: str


class Selector:
    """Decides which sets of a stream a buffer keeps.

    Args:
        buffer: open for writing.
        encoder: gives hidden states; a `LanguageModel`, or anything with `encode`, `identity` and `hidden_size`.
        policy: a name of design section 3, or a callable as in `edgepers.select.policy`.
        entropy: reading of EOE, or a callable score in its place.
        scored_text: "response", or "reference" where a set has one (as the paper's script).
        protect_annotated: annotated sets leave only when nothing else can.
        lexicons: the domains; the packaged ones by default.
        seed: of every random choice.
        explain: say in each decision why; that costs more than most decisions.

    Raises:
        StateError: the buffer was made with another encoder, seed or lexicons.
        UsageError: an unknown policy, or one that needs what the encoder cannot tell.
    """

    def __init__(
        self,
        buffer: Buffer,
        encoder: Encoder,
        *,
        policy: str | Policy = "random",
        entropy: str | Score = "windowed",
        scored_text: str = "response",
        protect_annotated: bool = True,
        lexicons: Lexicons | None = None,
        seed: int = 0,
        explain: bool = False,
    ) -> None:
        if isinstance(policy, str):
            name, policy = policy, policy_named(policy)
        else:
            name = getattr(policy, "__name__", type(policy).__name__)
        self.buffer = buffer
        self._encoder = encoder
        self._policy = policy
        self._policy_name = name
        self._entropy = entropy
        self._scored_text = scored_text
        self._protect = protect_annotated
        self._lexicons = load_lexicons() if lexicons is None else lexicons
        self._seed = seed
        self.explains = explain
        self._losses = _losses_of(encoder, policy, name)
        self._bind()
        self.reload()
        if self.buffer.over_budget:
            index = self._index.kept()
            order = shrink_order(
                policy, index, seed, index.annotated if protect_annotated else np.zeros_like(index.annotated)
            )
            self.buffer.shrink([int(p) for p in index.position[order]])
            self.reload()

    def _bind(self) -> None:
        """Make a new buffer this encoder's, or make sure that an old one is."""
        identity = {"model": self._encoder.identity, "seed": str(self._seed), "lexicons": self._lexicons.fingerprint}
        made_with = self.buffer.identity()
        if not made_with:
            self.buffer.start(identity, self._encoder.hidden_size)
            return
        where = self.buffer.path.parent
        for key, value in identity.items():
            if made_with[key] != value and key == "lexicons":  # a hash tells nobody anything
                raise StateError(
                    f"state {where}: made with other lexicons than these ({_few(self._lexicons.names)}); "
                    "give --lexicons with the folder as it was then, or a new --state"
                )
            if made_with[key] != value:
                raise StateError(
                    f"state {where}: made with another {key} ({made_with[key]}, now {value}); give the same, or a new"
                    " --state"
                )

    def reload(self) -> None:
        """Read the buffer again, after something else has changed it."""
        self._index = Index(stored_width(self._encoder.hidden_size), self.buffer)

    def holds(self, position: int) -> bool:
        """Whether a set is in the buffer."""
        return bool((self._index.kept().position == position).any())

    def offer(
        self,
        arrivals: Sequence[Arrival],
        first_position: int | None = None,
        told: Callable[[Decision], None] | None = None,
    ) -> list[Decision]:
        """Decide on a micro-batch of sets that all have a response.

        Args:
            arrivals: consecutive valid sets. Scores may depend on the batch in their last bits: the same batches decide
                the same.
            first_position: position of the first; sets before the buffer's position were decided earlier and are passed
                over.
            told: called with each decision once it is durable (admissions) or made (drops).
        """
        progress = self.buffer.progress
        first = progress.position if first_position is None else first_position
        texts = [self._text(arrival) for arrival in arrivals]
        scored = score_texts(self._encoder, texts, self._entropy, progress.center)
        losses = self._losses([(arrival.dialogue.question, self._answer(arrival)) for arrival in arrivals])
        decisions: list[Decision] = []
        acknowledged = 0

        def acknowledge() -> None:
            nonlocal acknowledged
            while told is not None and acknowledged < len(decisions):
                told(decisions[acknowledged])
                acknowledged += 1

        with self.buffer.held():
            for i, arrival in enumerate(arrivals):
                if first + i < self.buffer.progress.position:
                    continue
                kept, packed = self._candidate(arrival, first + i, texts[i], scored, i, loss=losses[i])
                center = self.buffer.progress.center
                if center is not None and center.sets < CENTER_SETS:
                    center = CenterSum(center.sets + 1, center.rows + scored.rows[i], center.total + scored.row_sums[i])
                decisions.append(self._decide(kept, packed, arrival, center))
                if not self.buffer.waiting:
                    acknowledge()
            self.buffer.flush()
        acknowledge()
        return decisions

    def _candidate(
        self, arrival: Arrival, position: int, text: str, scored: Scored, i: int, *, loss: float
    ) -> tuple[KeptSet, bytes]:
        """A set with its scores, and its record: compressing is a good part of a decision, and is done once."""
        match = self._lexicons.domain_score(text)
        kept = KeptSet(
            position=position,
            id=arrival.dialogue.id or "",
            question=arrival.dialogue.question,
            response=arrival.dialogue.response or "",
            reference=None,
            domain=match.domain,
            entropy=float(scored.entropy[i]),
            domain_score=float(
                np.float32(match.score)
            ),  # as it is stored: a buffer that is opened again decides the same
            embedding=scored.embedding[i],
            where=arrival.here,
            loss=float(np.float32(loss)),
        )
        packed = pack_record(kept)
        return replace(kept, stored_bytes=self.buffer.row_bytes(packed)), packed

    def _answer(self, arrival: Arrival) -> str:
        """The response that is scored."""
        dialogue = arrival.dialogue
        return (
            dialogue.reference
            if self._scored_text == "reference" and dialogue.reference is not None
            else dialogue.response
        ) or ""

    def _text(self, arrival: Arrival) -> str:
        return f"{arrival.dialogue.question}\n{self._answer(arrival)}"

    def _decide(self, kept: KeptSet, packed: bytes, arrival: Arrival, center: CenterSum | None) -> Decision:
        idd = self._index.dissimilarity_of(kept.embedding, kept.domain)
        progress = self.buffer.progress.copy()
        progress.position = kept.position + 1
        progress.invalid = arrival.after.invalid
        progress.center = center
        size = kept.stored_bytes
        newcomer, index = newcomer_of(kept, idd), self._index.kept()
        evict: Sequence[int] | None = None
        reason = "policy"
        if size > self.buffer.max_record_bytes:
            reason = "too_big"
        else:
            evict = self._policy(newcomer, index, self._room(size, index))
            progress.full = progress.full or not self.buffer.fits(size)
        gone: tuple[int, ...] = ()
        why = explain(newcomer, index, evict, reason, self._policy_name) if self.explains else ""
        if evict is None:
            progress.dropped[reason] = progress.dropped.get(reason, 0) + 1
            self.buffer.progress = progress  # not durable by itself: a resumed stream decides it again, the same way
        else:
            gone = tuple(int(position) for position in index.position[list(evict)])
            self.buffer.admit(kept, gone, progress, packed)
            self._index.remove(gone)
            self._index.add(kept)
        return Decision(
            kept.position,
            evict is not None,
            "" if evict is not None else reason,
            gone,
            kept.domain,
            kept.entropy,
            kept.domain_score,
            idd,
            why,
            kept.question,
        )

    def _room(self, size: int, kept: Kept) -> Room:
        return Room(
            seed=self._seed,
            refused_before=self.buffer.progress.full,
            needed=lambda rows: self.buffer.room_for(size, kept.position[np.asarray(rows, np.int64)]),
            protected=kept.annotated if self._protect else np.zeros_like(kept.annotated),
        )

    def annotate(self, position: int, reference: str | None, round_number: int) -> str:
        """Take the owner's verdict on a kept set: the reference, or None for "fine as it is".

        Returns:
            "" where taken, else why not: "too_big" or "no_room"; it counts as revealed all the same.
        """
        annotated = _judged(self.buffer.get(position), reference, round_number)
        progress = self.buffer.progress.copy()
        progress.annotated += 1
        gone = self._room_for_verdict(annotated, [position])
        if isinstance(gone, str):
            self.buffer.save(progress)
            return gone
        self.buffer.replace(annotated, gone, progress)
        self.reload()
        return ""

    def mark_asked(self, position: int, round_number: int) -> None:
        """Remember that the owner was asked about a kept set and has given no verdict that could be kept."""
        if self.buffer.mark_asked(position, round_number):
            return
        asked = replace(self.buffer.get(position), asked=round_number)
        gone = self._room_for_verdict(asked, [position])
        if not isinstance(gone, str):
            self.buffer.replace(asked, gone, self.buffer.progress.copy())
            self.reload()

    def keep(self, arrival: Arrival, dropped: Decision, reference: str | None, round_number: int) -> str:
        """Keep a set after all that was dropped a moment ago: the owner has given a verdict, and that outranks every score.

        Returns:
            As `annotate`.
        """
        text = self._text(arrival)
        scored = score_texts(self._encoder, [text], self._entropy, self.buffer.progress.center)
        (loss,) = self._losses([(arrival.dialogue.question, self._answer(arrival))])
        candidate, _ = self._candidate(arrival, dropped.position, text, scored, 0, loss=loss)
        annotated = _judged(candidate, reference, round_number)
        progress = self.buffer.progress.copy()
        progress.annotated += 1
        gone = self._room_for_verdict(annotated, [])
        if isinstance(gone, str):
            self.buffer.save(progress)
            return gone
        progress.dropped[dropped.reason] -= 1
        self.buffer.admit(annotated, gone, progress)
        self.reload()
        return ""

    def _room_for_verdict(self, annotated: KeptSet, replaced: Sequence[int]) -> list[int] | str:
        """Positions that must leave besides those it replaces, oldest first of what nobody has looked at; or why it cannot be kept."""
        size = self.buffer.row_bytes(annotated)
        if size > self.buffer.max_record_bytes:
            return "too_big"
        index = self._index.kept()
        order = [*replaced, *index.position[~np.isin(index.position, replaced) & ~index.annotated]]
        count = self.buffer.room_for(size, order)
        return "no_room" if count is None else [int(p) for p in order[len(replaced) : max(count, len(replaced))]]


def _losses_of(encoder: Encoder, policy: Policy, name: str) -> Callable[[Sequence[tuple[str, str]]], list[float]]:
    """What tells the losses of (question, response) pairs: the base model where the policy needs them, else nobody."""
    needs = tuple(getattr(policy, "needs", ()))
    if not needs:
        return lambda pairs: [math.nan] * len(pairs)
    if needs != ("loss",):
        raise UsageError(f"policy {name}: needs {', '.join(map(repr, needs))}; a selector can find out 'loss' alone")
    if not callable(losses := getattr(encoder, "losses", None)):
        raise UsageError(
            f"policy {name} needs the loss of each response, and {type(encoder).__name__} has no 'losses'; give a"
            " LanguageModel"
        )
    return lambda pairs: list(losses(pairs, adapter=False))


def _judged(kept: KeptSet, reference: str | None, round_number: int) -> KeptSet:
    same = reference is None or reference.strip() == kept.response.strip()
    return replace(
        kept, reference=None if same else reference, verdict="good" if same else "corrected", asked=round_number
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]}, ... {names[-1]}"
