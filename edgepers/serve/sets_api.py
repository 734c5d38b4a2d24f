"""What the owner's page asks about kept sets: those that await an answer, all of them, verdicts, and a copy of all."""

import json
from typing import Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from edgepers.annotate.reasons import reasons
from edgepers.errors import StateError
from edgepers.serve.failures import ApiError
from edgepers.serve.serving import Serving
from edgepers.state.forget import find
from edgepers.state.owner_data import owner_data
from edgepers.state.records import KeptSet
from edgepers.streams.chats import without_context

__all__ = ["sets_router"]

_PAGE = 20  # sets at a time
_POSITION = 2**62


class SetVerdict(BaseModel):
    """What its owner says of a kept set, known by its position; "skipped": not now."""

    verdict: Literal["good", "corrected", "bad", "skipped"]
    answer: str | None = Field(default=None, description="what it should have said, where it is corrected")


def sets_router(serving: Serving) -> APIRouter:
    """The routes over one server's state; they run in threads of their own."""
    router = APIRouter()
    owner, learner = serving.owner, serving.learner
    session, buffer = learner.session, owner.buffer

    @router.get("/edgepers/requests")
    def requests() -> dict[str, Any]:
        """What its owner would be asked about next, in that order, and why."""
        with buffer.lock:
            asked = owner.requests()
            whys = reasons(owner.verdicts, asked, owner.settings.ask)
        return {"requests": [_record(kept) | {"reason": why} for kept, why in zip(asked, whys, strict=True)]}

    @router.get("/edgepers/sets")
    def sets(
        matching: str = Query("", max_length=1000),
        before: int | None = Query(None, ge=0, lt=_POSITION),
        most: int = Query(_PAGE, ge=1, le=200),
    ) -> dict[str, Any]:
        """What is kept, the newest first: how many hold a text, and some of them, those before a position."""
        with buffer.lock:
            try:
                found = find(buffer, matching=matching) if matching.strip() else list(buffer)
            except StateError:  # nothing holds it
                found = []
        rest = [kept for kept in reversed(found) if before is None or kept.position < before]
        return {"count": len(found), "sets": [_record(kept) for kept in rest[:most]], "more": len(rest) > most}

    @router.get("/edgepers/sets.jsonl")
    def export() -> Response:
        """Everything kept, in the clear, as a file that a stream can be read from."""
        with buffer.lock:
            lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in owner_data(owner.state, buffer)]
        body = "".join(lines).encode("utf-8", "replace")
        headers = {"content-disposition": 'attachment; filename="edgepers.jsonl"'}
        return Response(body, media_type="application/jsonl", headers=headers)

    @router.get("/edgepers/answers/{name}")
    def answer(name: str) -> dict[str, Any]:
        """The set that an answer has become, by its name; whether and why it was kept, or counted on another."""
        exchange = session.named(name)
        held = owner.verdicts.holds(exchange.position)
        return {
            "id": name,
            "set": exchange.position,
            "kept": held,
            "counted_on": None if held else exchange.decision.same,
            "verdict": exchange.verdict or None,
            "why": exchange.decision.why,
        }

    @router.post("/edgepers/sets/{position}/verdict")
    def judge(position: int, given: SetVerdict) -> dict[str, Any]:
        """Say of a set that its answer was right, or wrong, or what it should have been; or pass over it for now."""
        if (given.answer is None) == (given.verdict == "corrected"):
            raise ApiError(400, "answer: what it should have said; give it with verdict 'corrected'", param="answer")
        if given.verdict == "skipped":
            session.asked(position)
            return {"set": position, "verdict": None, "message": "passed over"}
        return learner.judge_set(position, given.answer, bad=given.verdict == "bad")

    @router.delete("/edgepers/sets/{position}/verdict")
    def take_back(position: int) -> dict[str, Any]:
        """Take back the last verdict on a set, or that it was passed over, while no round has read it."""
        said = session.take_back(position)
        return {"set": position, "verdict": session.exchange(position).verdict or None, "message": said}

    return router


def _record(kept: KeptSet) -> dict[str, Any]:
    earlier, question = without_context(kept.question)
    return {
        "set": kept.position,
        "id": kept.id or str(kept.position),
        "earlier": earlier or None,
        "question": question,
        "response": kept.response,
        "reference": kept.reference,
        "verdict": kept.verdict or None,
        "bytes": kept.stored_bytes,
    }
