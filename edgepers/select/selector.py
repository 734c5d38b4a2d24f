"""Score the sets of a micro-batch and decide on each.

An admission is one durable transaction, and so is a repeat that is counted; nothing is written for another drop.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgepers.errors import UsageError
from edgepers.select.decision import Decision
from edgepers.select.explain import explain, explain_repeat
from edgepers.select.identity import check_identity
from edgepers.select.index import Index, newcomer_of
from edgepers.select.lexicon import Lexicons, load_lexicons
from edgepers.select.micro_batches import MicroBatch
from edgepers.select.policies import policy_named, shrink_order
from edgepers.select.policy import Kept, Policy, Room
from edgepers.select.repeats import wording
from edgepers.select.scores import CENTER_SETS, Encoder, Score, Scored, score_texts, topics_of
from edgepers.select.verdicts import Verdicts, judged
from edgepers.state.buffer import Buffer
from edgepers.state.embedding import stored_width
from edgepers.state.records import SPOKEN, CenterSum, KeptSet, pack_record
from edgepers.streams import Arrival, DialogueSet

__all__ = ["Selector"]


class Selector(Verdicts):
    """Decides which sets of a stream a buffer keeps, and takes verdicts on them with its index kept up.

    The buffer is read once, when a selector is made; threads may share one as they may share the buffer.

    Args:
        buffer: open for writing.
        encoder: gives hidden states; a `LanguageModel`, or anything with `encode`, `identity` and `hidden_size`.
        embedding: what sets are compared by: "question", its topic, where the encoder has `topics`; "hidden", the mean
            of the hidden states (the paper's).
        count_repeats: a question that is kept in the same words is counted there, not kept once more.
        policy: a policy by name, or a callable as in `edgepers.select.policy`.
        answered: whether its owner has an answer to a set ready, which is then kept by itself; None: to none.
        entropy: reading of EOE, or a callable score in its place.
        scored_text: "response", or "reference" where a set has one (as the paper's script).
        protect_annotated: annotated sets leave only when nothing else can.
        lexicons: the domains; the packaged ones by default.
        seed: of every random choice.
        explain: say in each decision why; that costs more than most decisions.
        with_losses: measure the loss of each response, also where the policy does not ask for it.

    Raises:
        StateError: the buffer was made with another encoder, seed or lexicons.
        UsageError: an unknown policy, or one that needs what the encoder cannot tell.
    """

    def __init__(
        self,
        buffer: Buffer,
        encoder: Encoder,
        *,
        policy: str | Policy = "typical",
        embedding: str = "question",
        count_repeats: bool = True,
        answered: Callable[[KeptSet], bool] | None = None,
        entropy: str | Score = "windowed",
        scored_text: str = "response",
        protect_annotated: bool = True,
        lexicons: Lexicons | None = None,
        seed: int = 0,
        explain: bool = False,
        with_losses: bool = False,
    ) -> None:
        if isinstance(policy, str):
            name, policy = policy, policy_named(policy)
        else:
            name = getattr(policy, "__name__", type(policy).__name__)
        super().__init__(buffer)
        self._encoder = encoder
        self._policy = policy
        self._policy_name = name
        self._entropy = entropy
        self._embedding = embedding
        self._count_repeats = count_repeats
        self._answered = answered or (lambda _: False)
        self._topics, self._width = topics_of(encoder, embedding)
        self._scored_text = scored_text
        self._protect = protect_annotated
        self._lexicons = load_lexicons() if lexicons is None else lexicons
        self._seed = seed
        self.explains = explain
        needs = tuple(getattr(policy, "needs", ()))
        who = f"policy {name}" if needs else "asking by loss"
        self._losses = _losses_of(encoder, ("loss",) if with_losses else needs, who)
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
        identity = {
            "model": self._encoder.identity,
            "seed": str(self._seed),
            "lexicons": self._lexicons.fingerprint,
            "embedding": self._embedding,
        }
        if self.buffer.identity():
            check_identity(self.buffer, identity, self._lexicons)
        else:
            self.buffer.start(identity, self._encoder.hidden_size)

    def reload(self) -> None:
        """Read the buffer again, after something else has changed it."""
        with self.buffer.lock:
            self._index = Index(stored_width(self._width), self.buffer)
            self._stale = False

    def decide(self, batch: MicroBatch, on_decision: Callable[[Decision], None] | None = None) -> list[Decision]:
        """Decide on a stream's micro-batch and move the cursor past it.

        Sets that were decided before an interruption are passed over.

        Args:
            batch: of sets that all have a response.
            on_decision: as for `offer`.
        """
        buffer = self.buffer
        with buffer.lock:
            decisions: list[Decision] = []
            if batch.end > buffer.progress.position:
                buffer.advance(buffer.progress.batch_begun(batch.first, batch.arrivals[0].here, batch.stream))
                decisions = self.offer(batch.arrivals, batch.first, on_decision)
            buffer.advance(buffer.progress.batch_done(batch.end, batch.arrivals[-1].after))
        return decisions

    def offer_spoken(self, dialogue: DialogueSet) -> Decision:
        """Decide, durably, on a set that comes from no stream: it was said in a chat."""
        buffer = self.buffer
        with buffer.lock:
            buffer.advance(buffer.progress.spoken())
            arrival = Arrival(dialogue, SPOKEN, replace(SPOKEN, invalid=buffer.progress.invalid))
            (decision,) = self.offer([arrival])
            buffer.save(buffer.progress)
        return decision

    def offer(
        self,
        arrivals: Sequence[Arrival],
        first_position: int | None = None,
        on_decision: Callable[[Decision], None] | None = None,
    ) -> list[Decision]:
        """Decide on a micro-batch of sets that all have a response.

        Args:
            arrivals: consecutive valid sets. Scores may depend on the batch in their last bits: the same batches decide
                the same.
            first_position: position of the first; sets before the buffer's position were decided earlier and are passed
                over.
            on_decision: called with each decision once it is durable (admissions) or made (drops).
        """
        with self.buffer.lock:
            if self._stale:
                self.reload()
            try:
                return self._offer(arrivals, first_position, on_decision)
            except BaseException:
                self._stale = True  # it was rolled back on the disk, and not in the index
                raise

    def _offer(
        self,
        arrivals: Sequence[Arrival],
        first_position: int | None,
        on_decision: Callable[[Decision], None] | None,
    ) -> list[Decision]:
        progress = self.buffer.progress
        first = progress.position if first_position is None else first_position
        texts = [self._text(arrival) for arrival in arrivals]
        scored = self._scored(arrivals, texts)
        losses = self._losses([(arrival.dialogue.question, self._answer(arrival)) for arrival in arrivals])
        decisions: list[Decision] = []
        acknowledged = 0

        def acknowledge() -> None:
            nonlocal acknowledged
            while on_decision is not None and acknowledged < len(decisions):
                on_decision(decisions[acknowledged])
                acknowledged += 1

        with self.buffer.exclusive():
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

    def _scored(self, arrivals: Sequence[Arrival], texts: Sequence[str]) -> Scored:
        topics = None if self._topics is None else self._topics([arrival.dialogue.question for arrival in arrivals])
        return score_texts(self._encoder, texts, self._entropy, self.buffer.progress.center, topics)

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
            doubted=arrival.dialogue.doubted,
            verdict=arrival.dialogue.verdict,  # of its source, given before any round asked
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
        size = kept.stored_bytes
        newcomer, index = newcomer_of(kept, idd), self._index.kept()
        evict: Sequence[int] | None = None
        reason, full = "policy", False
        same = self._asked_before(kept, arrival.dialogue.reference) if self._count_repeats else None
        if same is not None:
            reason = "repeat"
        elif size > self.buffer.max_record_bytes:
            reason = "too_big"
        else:
            evict = self._policy(newcomer, index, self._room(size, index))
            full = not self.buffer.fits(size)
        progress = self.buffer.progress.decided(kept.position, arrival.after.invalid, center, full=full)
        gone: tuple[int, ...] = ()
        why = ""
        if self.explains:
            why = (
                explain(newcomer, index, evict, reason, self._policy_name)
                if same is None
                else explain_repeat(newcomer, same)
            )
        if same is not None:
            if self.buffer.count_repeat(same.position, progress.set_dropped(reason), doubted=kept.doubted):
                self._index.count_repeat(same.position, same.repeats)
        elif evict is None:
            self.buffer.advance(progress.set_dropped(reason))  # a resumed stream decides it again, the same way
        else:
            gone = tuple(int(position) for position in index.position[list(evict)])
            progress = progress.verdict_given() if kept.annotated else progress
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
            None if same is None else same.position,
        )

    def _asked_before(self, newcomer: KeptSet, reference: str | None) -> KeptSet | None:
        """The kept set that a newcomer's question is counted on.

        None for one that its owner has judged or answered otherwise, and beside one whose response was called wrong or
        taken back: it may have a better one.
        """
        if newcomer.annotated or self._answered(newcomer):
            return None
        words = wording(newcomer.question)
        for position in self._index.asked_the_same(words):
            kept = self.buffer.get(position)
            if wording(kept.question) != words or kept.rejected or kept.doubted:
                continue
            if reference is None or (kept.annotated and kept.wanted == reference):
                return kept
        return None

    def _room(self, size: int, kept: Kept) -> Room:
        return Room(
            seed=self._seed,
            refused_before=self.buffer.progress.full,
            needed=lambda rows: self.buffer.room_for(size, kept.position[np.asarray(rows, np.int64)]),
            protected=kept.annotated if self._protect else np.zeros_like(kept.annotated),
        )

    def keep(
        self, arrival: Arrival, dropped: Decision, reference: str | None, round_number: int, *, bad: bool = False
    ) -> str:
        """Keep a set after all that was dropped a moment ago.

        The owner has given a verdict, and that outranks every score.

        The verdict, what is returned and what is raised: as for `annotate`.
        """
        with self.buffer.lock:
            return self._keep(arrival, dropped, reference, round_number, bad=bad)

    def _keep(self, arrival: Arrival, dropped: Decision, reference: str | None, round_number: int, *, bad: bool) -> str:
        buffer, text = self.buffer, self._text(arrival)
        scored = self._scored([arrival], [text])
        (loss,) = self._losses([(arrival.dialogue.question, self._answer(arrival))])
        candidate, _ = self._candidate(arrival, dropped.position, text, scored, 0, loss=loss)
        annotated = judged(candidate, reference, round_number, bad=bad)
        progress = buffer.progress.verdict_given()
        packed = pack_record(annotated)
        gone = self._room_for_verdict(packed, [])
        if isinstance(gone, str):
            buffer.save(progress)
            return gone
        buffer.admit(annotated, gone, progress.set_dropped(dropped.reason, -1), packed)
        buffer.flush()
        here = self._index.kept().position
        if len(here) and here[-1] > annotated.position:
            self.reload()  # rows of the index are in order of arrival, and this one belongs between them
        else:
            self._index.remove(gone)
            self._index.add(replace(annotated, stored_bytes=buffer.marks[annotated.position].stored_bytes))
        return ""

    def _follow(self, gone: Sequence[int], kept: KeptSet) -> None:
        self._index.remove(gone)
        self._index.judged(replace(kept, stored_bytes=self.buffer.marks[kept.position].stored_bytes))


def _losses_of(encoder: Encoder, needs: Sequence[str], who: str) -> Callable[[Sequence[tuple[str, str]]], list[float]]:
    """What tells the losses of (question, response) pairs: the base model where they are needed, else nobody."""
    if not needs:
        return lambda pairs: [math.nan] * len(pairs)
    if set(needs) != {"loss"}:
        raise UsageError(f"{who}: needs {', '.join(map(repr, needs))}; a selector can find out 'loss' alone")
    if not callable(losses := getattr(encoder, "losses", None)):
        raise UsageError(
            f"{who} needs the loss of each response, and {type(encoder).__name__} has no 'losses'; give a LanguageModel"
        )
    return lambda pairs: list(losses(pairs, adapter=False))
