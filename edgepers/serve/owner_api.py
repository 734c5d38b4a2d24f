"""What only this server has: verdicts, rounds, roll back, forget, budgets, and what is counted."""

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from edgepers.board.sensors import Sensors
from edgepers.files import folder_bytes
from edgepers.meter.ledger import read_pending, total_energy
from edgepers.serve.failures import ApiError
from edgepers.serve.metrics import Samples, exposition
from edgepers.serve.serving import Serving
from edgepers.train.step_log import logged_losses

__all__ = ["owner_router", "plain_router"]

_BRIEF = ("round", "seen", "train_sets", "train_steps", "train_seconds", "published", "reason", "adapter",
          "train_loss_first", "train_loss_last", "guard_loss_before", "guard_loss_after", "recalled",
          "energy_joules")  # fmt: skip


class Feedback(BaseModel):
    """A verdict on an answer."""

    id: str = Field(min_length=1, max_length=200, description="of the answer, such as chatcmpl-...")
    rating: Literal["up", "down"] | None = None
    answer: str | None = Field(default=None, description="what it should have said")


class Switch(BaseModel):
    """Whether a talk is learned from."""

    learn: bool


class Forgetting(BaseModel):
    """What is to be forgotten: a set by its position, an answer by its name, or everything kept that holds a text."""

    set: int | None = Field(default=None, ge=0, lt=2**62)
    id: str | None = Field(default=None, min_length=1, max_length=200)
    matching: str | None = Field(default=None, min_length=1, max_length=1000)


def owner_router(serving: Serving) -> APIRouter:
    """The routes over one server's state; they run in threads of their own."""
    router = APIRouter()
    owner, learner, sensors = serving.owner, serving.learner, Sensors()

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
            "round_stage": owner.round_stage or None,
            "round_seconds_left": owner.round_seconds_left,
            "published": progress.published or None,
            "outcomes": dict(learner.outcomes),
            "verdicts": dict(learner.verdicts),
            "waiting": serving.worker.waiting,
            "to_learn": serving.worker.chores,
            "last_round": serving.rounds.last,
            "model": owner.settings.model,
            "upstream": serving.options.upstream,
            "at_upstream": _at_upstream(serving),
            "began": serving.began,
        }

    @router.get("/edgepers/budgets")
    def budgets() -> dict[str, Any]:
        """What storage, memory and energy were taken, of what may be, and how hot the device is; null: not known."""
        progress, settings = owner.buffer.progress, owner.settings
        rounds = owner.state.round_reports(progress.rounds)
        return {
            "storage_bytes": owner.buffer.disk_bytes(),
            "storage_peak_bytes": progress.peak_bytes,
            "storage_budget_bytes": int(settings.storage),
            "state_bytes": folder_bytes(owner.state.folder),
            "memory_bytes": owner.meter.now_bytes(),
            "memory_peak_bytes": owner.meter.peak_bytes(),
            "memory_budget_bytes": int(settings.memory),
            "celsius": sensors.temperature(),
            "most_celsius": settings.busy_temperature,
            "battery_percent": sensors.battery(),
            **total_energy(rounds, read_pending(owner.state.pending_energy, progress.rounds + 1)),
        }

    @router.get("/edgepers/rounds")
    def rounds() -> dict[str, Any]:
        """What each round has come to."""
        reports = owner.state.round_reports(owner.buffer.progress.rounds)
        return {"rounds": [{key: report.get(key) for key in _BRIEF} for report in reports]}

    @router.get("/edgepers/rounds/{number}/losses")
    def losses(number: int = Path(ge=1, lt=10_000)) -> dict[str, Any]:
        """A round's learning curve: each step of its training with the loss, in nats a token."""
        return {"round": number, "losses": logged_losses(owner.state.rounds, f"{number:04}")}

    @router.post("/edgepers/rounds", status_code=202)
    def begin_round() -> dict[str, Any]:
        """Learn now from what was judged; answers go on meanwhile."""
        return {"round": serving.rounds.start()}

    @router.delete("/edgepers/rounds")
    def stop_round() -> dict[str, Any]:
        """Stop the round that is under way; the next one that is asked for goes on from where it was."""
        return {"stopped": serving.rounds.stop()}

    @router.post("/edgepers/rollback")
    def rollback() -> dict[str, Any]:
        """Publish what was published before; a round that is under way is stopped."""
        owner.stop_round()
        return owner.rollback()

    @router.post("/edgepers/forget")
    def forget(what: Forgetting) -> dict[str, Any]:
        """Forget for good; adapters that have learned from it are withdrawn."""
        if sum(value is not None for value in (what.set, what.id, what.matching)) != 1:
            raise ApiError(400, "say what to forget: set, id, or matching", param="set")
        if serving.proxy is None:
            owner.llm.forget_talks()
        if what.matching is not None:
            return {"message": learner.session.forget(what.matching)}
        position = learner.session.named(what.id).position if what.id is not None else what.set
        return {"message": learner.session.forget(position=position)}

    @router.put("/edgepers/talks/{session}")
    def switch(session: str, to: Switch) -> dict[str, Any]:
        """Learn from the talk that its program calls so (`X-Session-Id`), or from now on not."""
        serving.quiet.switch(session, learn=to.learn)
        return {"session": session, "learn": to.learn}

    _tell_how_it_is(router, serving, "/edgepers")
    return router


def _at_upstream(serving: Serving) -> dict[str, Any] | None:
    """What the upstream was given; None where it is given nothing."""
    if serving.publisher is None:
        return None
    served = serving.publisher.served
    return {
        "model": serving.options.upstream_model,
        "name": served.name or None,
        "adapter": served.adapter or None,
        "given": served.given or None,
        "refused": served.refused or None,
        "reason": served.reason or None,
        "failure": serving.publisher.failure or None,
    }


def plain_router(serving: Serving) -> APIRouter:
    """The same health and numbers under the names that others give them; no upstream has these here."""
    router = APIRouter()
    _tell_how_it_is(router, serving, "")
    return router


def _tell_how_it_is(router: APIRouter, serving: Serving, under: str) -> None:
    """Health and numbers, `under` a path."""

    @router.get(f"{under}/healthz")
    def health() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    @router.get(f"{under}/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Numbers, as Prometheus reads them."""
        return exposition(dict(_families(serving)))


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
