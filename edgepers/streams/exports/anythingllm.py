"""AnythingLLM's chat log: a row a question with its answer, and the thumb that it was given."""

from edgepers.streams.answers import alone
from edgepers.streams.chats import EMPTY
from edgepers.streams.contents import verdict_of
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["ANYTHINGLLM"]

_BESIDE = ("sent_at", "workspace", "username", "feedbackScore", "rating")


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    prompt, response = record.get("prompt"), record.get("response")
    if isinstance(response, dict):
        response = response.get("text")
    if not isinstance(prompt, str) or not isinstance(response, str):
        raise ValueError(f"'{'prompt' if not isinstance(prompt, str) else 'response'}' is missing or no text")
    answer, lost = alone(response)
    if lost or not prompt.strip() or not answer:
        raise ValueError(lost or (EMPTY if not prompt.strip() else "'response' is empty"))
    rating = record.get("feedbackScore", record.get("rating"))
    verdict = "bad" if rating in (0, "0") and rating is not None else verdict_of(rating)
    return [DialogueSet(prompt.strip(), answer, id=identity_of(record), verdict=verdict)]


ANYTHINGLLM = Form(
    "anythingllm",
    "AnythingLLM's log: prompt is the question, response what was said, rating the verdict",
    lambda r: "prompt" in r and "response" in r and any(name in r for name in _BESIDE),
    _sets,
)
