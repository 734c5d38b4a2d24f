"""AnythingLLM's chat log: a row a question with its answer, and the thumb that it was given."""

from edgepers.streams.answers import alone
from edgepers.streams.chats import THOUGHT_ALONE
from edgepers.streams.contents import verdict_of
from edgepers.streams.datasets.columns import text_in
from edgepers.streams.form import Form, JsonObject, Way, identity_of
from edgepers.streams.types import DialogueSet

__all__ = ["ANYTHINGLLM"]

_BESIDE = ("sent_at", "workspace", "username", "feedbackScore", "rating")


def _sets(record: JsonObject, way: Way) -> list[DialogueSet]:
    response = record.get("response")
    if isinstance(response, dict):
        response = response.get("text")
    asked = text_in(record, "prompt").strip()
    answer, lost = alone(text_in({"response": response}, "response"))
    if lost or not answer:
        raise ValueError(f"'response' has nothing to learn: {lost or THOUGHT_ALONE}")
    rating = record.get("feedbackScore", record.get("rating"))
    verdict = "bad" if rating in (0, "0") else verdict_of(rating)
    return [DialogueSet(asked, answer, id=identity_of(record), verdict=verdict)]


ANYTHINGLLM = Form(
    "anythingllm",
    "AnythingLLM's log: prompt is the question, response what was said, rating the verdict",
    lambda r: "prompt" in r and "response" in r and any(name in r for name in _BESIDE),
    _sets,
)
