"""What only this server has: verdicts, what awaits one, rounds, roll back, forget, and what is counted."""

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from edgepers.serve.failures import ApiError
from edgepers.serve.metrics import Samples, exposition
from edgepers.serve.serving import Serving

__all__ = ["owner_router", "plain_router"]

_BRIEF = ("round", "seen", "train_sets", "train_steps", "train_seconds", "published", "reason", "adapter",
          "guard_loss_before", "guard_loss_after", "energy_joules")  # fmt: skip


class Feedback(BaseModel):
    """A verdict on an answer."""

    id: str = Field(min_length=1, max_length=200, description="of the answer, such as chatcmpl-...")
    rating: Literal["up", "down"] | None = None
    answer: str | None = Field(default=None, description="what it should have said")


class Switch(BaseModel):
    """Whether a talk is learned from."""

    learn: bool


class Forgetting(BaseModel):
    """What is to be forgotten: an answer by its name, or everything kept that holds a text."""

    id: str | None = Field(default=None, min_length=1, max_length=200)
    matching: str | None = Field(default=None, min_length=1, max_length=1000)


def owner_router(serving: Serving) -> APIRouter:
    """The routes over one server's state; they run in threads of their own."""
    router = APIRouter()
    owner, learner = serving.owner, serving.learner

    @router.post("/v1/feedback")
    def feedback(verdict: Feedback) -> dict[str, Any]:
        """Say that an answer was right, or wrong, or what it should have been."""
        if verdict.rating is None and verdict.answer is None:
            raise ApiError(400, "give rating ('up' or 'down'), or answer: what it should have said", param="rating")
        if verdict.rating == "up" and verdict.answer is not None:
            raise ApiError(400, "rating is 'up', and answer corrects it; give one of them", param="rating")
        return learner.judge(verdict.id, verdict.answer, bad=verdict.rating == "down" and verdict.answer is None)

    @router.get("/edgepers/status")
    def status() -> dict[str, Any]:
        """Counts of what was said, kept, judged and learned."""
        progress = owner.buffer.progress
        return {
            "seen": progress.position,
            "kept": len(owner.buffer),
            "judged": owner.buffer.marks.annotated,
            "rounds": progress.rounds,
            "next_round": owner.next_round,
            "round_under_way": owner.round_is_under_way,
            "published": progress.published or None,
            "outcomes": dict(learner.outcomes),
            "verdicts": dict(learner.verdicts),
            "waiting": serving.worker.waiting,
            "to_learn": serving.worker.chores,
            "last_round": serving.rounds.last,
        }

    @router.get("/edgepers/requests")
    def requests() -> dict[str, Any]:
        """What its owner would be asked about next, in that order."""
        found = [
            {"id": kept.id or str(kept.position), "question": kept.question, "response": kept.response}
            for kept in owner.requests()
        ]
        return {"requests": found}

    @router.get("/edgepers/rounds")
    def rounds() -> dict[str, Any]:
        """What each round has come to."""
        reports = owner.state.round_reports(owner.buffer.progress.rounds)
        return {"rounds": [{key: report.get(key) for key in _BRIEF} for report in reports]}

    @router.post("/edgepers/rounds", status_code=202)
    def begin_round() -> dict[str, Any]:
        """Learn now from what was judged; answers go on meanwhile."""
        return {"round": serving.rounds.start()}

    @router.post("/edgepers/rollback")
    def rollback() -> dict[str, Any]:
        """Publish what was published before; a round that is under way is stopped."""
        owner.stop_round()
        return owner.rollback()

    @router.post("/edgepers/forget")
    def forget(what: Forgetting) -> dict[str, Any]:
        """Forget for good; adapters that have learned from it are withdrawn."""
        if (what.id is None) == (what.matching is None):
            raise ApiError(400, "say what to forget: id, or matching", param="id")
        if serving.proxy is None:
            owner.llm.forget_talks()
        if what.id is None:
            return {"message": learner.session.forget(what.matching or "")}
        return {"message": learner.session.forget(position=learner.session.named(what.id).position)}

    @router.put("/edgepers/talks/{session}")
    def switch(session: str, to: Switch) -> dict[str, Any]:
        """Learn from the talk that its program calls so (`X-Session-Id`), or from now on not."""
        serving.quiet.switch(session, learn=to.learn)
        return {"session": session, "learn": to.learn}

    @router.get("/edgepers/healthz")
    def health() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    @router.get("/edgepers/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Numbers, as Prometheus reads them."""
        return exposition(dict(_families(serving)))

    return router


def plain_router(serving: Serving) -> APIRouter:
    """The same health and numbers under the names that others give them; no upstream has these here."""
    router = APIRouter()

    @router.get("/healthz")
    def health() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Numbers, as Prometheus reads them."""
        return exposition(dict(_families(serving)))

    @router.get("/", response_class=PlainTextResponse)
    def root() -> str:
        """Where the interface is."""
        return "edgepers serves OpenAI's interface at /v1; /openapi.json describes it.\n"

    return router


def _families(serving: Serving) -> Iterator[tuple[str, tuple[str, str, Samples]]]:
    metrics, answering, progress = serving.metrics, serving.answering, serving.owner.buffer.progress

    def one(value: float) -> Samples:
        return [({}, float(value))]

    yield (
        "requests_total",
        (
            "counter",
            "Requests by route and status.",
            [({"route": route, "status": str(status)}, n) for (route, status), n in sorted(metrics.requests.items())],
        ),
    )
    yield "answers_total", ("counter", "Answers given to their end.", one(metrics.answers))
    yield "answers_left_total", ("counter", "Answers that nobody waited for.", one(metrics.left))
    yield "first_piece_seconds_total", ("counter", "Until the first piece, all answers.", one(metrics.first_seconds))
    yield "answer_seconds_total", ("counter", "Until the end, all answers.", one(metrics.answer_seconds))
    yield "prompt_tokens_total", ("counter", "Tokens read.", one(answering.tokens_read))
    yield "completion_tokens_total", ("counter", "Tokens written.", one(answering.tokens_written))
    yield "waiting", ("gauge", "Requests that wait for an answer.", one(serving.worker.waiting))
    yield "to_learn", ("gauge", "Exchanges that wait to be learned from.", one(serving.worker.chores))
    yield "to_learn_lost_total", ("counter", "Exchanges lost since too many waited.", one(serving.worker.chores_lost))
    outcomes = sorted(serving.learner.outcomes.items())
    yield "exchanges_total", ("counter", "Exchanges by outcome.", [({"outcome": name}, n) for name, n in outcomes])
    verdicts = sorted(serving.learner.verdicts.items())
    yield "verdicts_total", ("counter", "Verdicts by kind.", [({"verdict": name}, n) for name, n in verdicts])
    yield "kept_sets", ("gauge", "Dialogue sets kept.", one(len(serving.owner.buffer)))
    yield "rounds_total", ("counter", "Rounds finished, ever.", one(progress.rounds))
    yield "round_failures_total", ("counter", "Rounds that failed here.", one(serving.rounds.failed))
    yield "round_under_way", ("gauge", "Whether a round is under way.", one(serving.owner.round_is_under_way))
