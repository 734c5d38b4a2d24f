"""Messages as the text that a model expects around them: by its own chat template, or a plain form where it has none.

Templates differ in more than their words: some refuse a system turn or two turns of one side, some read content as a
list of parts, some open a thought, some write the date. What a template does is found out once, by an exchange that is
rendered when the model is loaded; one that loses the question or the answer is refused.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepers.errors import ModelError, first_line
from edgepers.streams.reasoning import closing_of, visible_answer

__all__ = ["Message", "Prompts", "end_token", "messages_of"]

Message = Mapping[str, str]  # "role" ("system", "user" or "assistant") and "content"

_THINKING = ("enable_thinking", "thinking")  # what templates call the choice whether a model thinks before it answers
_DATES = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1""")
_DATE_MACRO = "{% macro strftime_now(form) %}{{ dates[form] }}{% endmacro %}"
PLAIN_STOP = "\nUser:"  # where a model without a template goes on with the other side's words
_SYSTEM, _QUESTION, _ANSWER = "Be brief, 4a7c.", "Which bird is 9d2e?", "It is the wren, 5b81."
_NEXT = "And which fish is 3e6d?"


def end_token(tokenizer: Any, end_of_turn: str) -> int | None:
    """The special token that what follows an answer begins with, white space apart; None where it is plain text."""
    ids, special = _special(tokenizer, end_of_turn.lstrip())
    return ids[0] if special and special[0] else None


def _special(tokenizer: Any, text: str) -> tuple[list[int], list[bool]]:
    """Tokens of text, and which of them are special."""
    ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else []
    known = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return ids, [token in known for token in ids]


def messages_of(question: str | Sequence[Message]) -> Sequence[Message]:
    """Messages as they are; a question alone is one user turn."""
    return [{"role": "user", "content": question}] if isinstance(question, str) else question


@dataclass(frozen=True, slots=True)
class _Habits:
    """What a template was found to do."""

    parts: bool = False  # it reads content as a list of parts
    system: bool = True  # it has a place for a system turn
    lead: str = ""  # what stands between the prompt and the answer, such as a thought that is closed at once
    tail: str = ""  # what follows the answer: the end of the turn
    written: bool = True  # the template writes the tail itself


class Prompts:
    """The prompts of one tokenizer.

    Attributes:
        has_template: of a chat.
        ends_by_text: what follows an answer is no special token, but text.

    Args:
        tokenizer: of transformers.
        name: of the model, for errors.

    Raises:
        ModelError: its chat template cannot be used.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._beginning = _beginning(tokenizer)
        template = tokenizer.chat_template
        if isinstance(template, dict) and "default" not in template:
            raise ModelError(
                f"--model {name}: several chat templates ({', '.join(sorted(template))}) and none of them named"
                " 'default'; name one so in its tokenizer_config.json"
            )
        self.has_template = template is not None
        self._source = str(template["default"] if isinstance(template, dict) else template or "")
        self._options = {name: False for name in _THINKING if re.search(rf"\b{name}\b", self._source)}
        self._habits = (
            self._found() if self.has_template else _Habits(tail=tokenizer.eos_token or PLAIN_STOP, written=False)
        )
        self.ends_by_text = not any(_special(tokenizer, self._habits.tail)[1])

    @property
    def end_of_turn(self) -> str:
        """What follows an answer: what the template writes there, or what the model can be taught to end with."""
        return self._habits.tail

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts at which an answer is over, beside the tokens that end it."""
        ends = (self._habits.tail.rstrip(),) if self.ends_by_text else ()
        return ends if self.has_template else tuple({PLAIN_STOP, *ends})

    @property
    def beginning(self) -> tuple[int, ...]:
        """Tokens that the tokenizer itself puts before any text, such as a begin-of-text token."""
        return self._beginning

    def prompt(self, question: str | Sequence[Message]) -> str:
        """The text before the answer; a thought that it would open is closed."""
        text = self._rendered(self._settled(messages_of(question)), answering=True) + self._habits.lead
        closing = closing_of(text)
        return f"{text.rstrip()}\n\n{closing}\n\n" if closing else text

    def completion(self, question: str | Sequence[Message], response: str) -> str:
        """The text after `prompt`: the response without its thoughts, and the template's own end of turn."""
        response = visible_answer(response)
        if not self.has_template:
            return f" {response}{self._habits.tail}"
        prompt = self.prompt(question)
        turns = [*self._settled(messages_of(question)), {"role": "assistant", "content": response}]
        whole = self._rendered(turns, answering=False)
        if whole.startswith(prompt) and self._habits.written:
            return whole[len(prompt) :]
        said = whole[len(prompt) :].rstrip() if whole.startswith(prompt) else response.strip()
        return said + self._habits.tail

    def ids(self, text: str) -> list[int]:
        """Tokens of a prompt; what the tokenizer puts before any text stands before it once."""
        ids, first = self.plain_ids(text), list(self._beginning)
        while first and ids[: len(first)] == first:
            ids = ids[len(first) :]
        return first + ids

    def plain_ids(self, text: str) -> list[int]:
        """Tokens of text as it stands."""
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _settled(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        """Turns that every template takes.

        A system turn first or in the first question, then user and assistant in turn.

        Raises:
            ModelError: a role that is none of these, or no user turn.
        """
        system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
        turns: list[dict[str, str]] = []
        for message in messages:
            role, content = message["role"], message["content"]
            if role not in ("system", "user", "assistant"):
                raise ModelError(f"a message of the role {role!r}; roles are system, user and assistant")
            if role == "system" or (role == "assistant" and not turns):  # what comes before any question is no answer
                continue
            content = visible_answer(content) if role == "assistant" else content
            if turns and turns[-1]["role"] == role:
                turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n\n{content}"}
            else:
                turns.append({"role": role, "content": content})
        if not turns:
            raise ModelError("no user message to answer; give one")
        if system and self._habits.system and self.has_template:
            return [{"role": "system", "content": system}, *turns]
        if system:
            turns[0] = {"role": "user", "content": f"{system}\n\n{turns[0]['content']}"}
        return turns

    def _rendered(self, turns: Sequence[Message], *, answering: bool, parts: bool | None = None) -> str:
        """The text of turns.

        Raises:
            ModelError: the template cannot be rendered.
        """
        if not self.has_template:
            lines = [f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns]
            return "\n".join([*lines, "Assistant:"] if answering else lines)
        from jinja2 import TemplateError

        as_parts = self._habits.parts if parts is None else parts
        given = [
            {
                "role": turn["role"],
                "content": [{"type": "text", "text": turn["content"]}] if as_parts else turn["content"],
            }
            for turn in turns
        ]
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    given,
                    tokenize=False,
                    add_generation_prompt=answering,
                    **self._dated(),
                    **self._options,
                )
            )
        except (TemplateError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(self._refused(first_line(error))) from error

    def _dated(self) -> dict[str, Any]:
        """The template with today's date, where it asks for it.

        To the day, so that a prompt is the same when it is asked again.
        """
        formats = {found[2] for found in _DATES.finditer(self._source)}
        if not formats:
            return {}
        today = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        return {"chat_template": _DATE_MACRO + self._source, "dates": {form: today.strftime(form) for form in formats}}

    def _refused(self, why: str) -> str:
        return (
            f"--model {self._name}: its chat template does not take a question and its answer ({why}); mend"
            " chat_template.jinja, or take the folder of an instruct model"
        )

    def _found(self) -> _Habits:
        """What the template does, by an exchange.

        Raises:
            ModelError: it fails, or loses the question or the answer.
        """
        user, assistant = {"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}
        failed: ModelError | None = None
        for parts in (False, True):
            try:
                whole = self._rendered([user, assistant], answering=False, parts=parts)
                prompt = self._rendered([user], answering=True, parts=parts)
            except ModelError as error:
                failed = failed or error
                continue
            if _QUESTION in prompt and _QUESTION in whole and _ANSWER in whole:
                break
        else:
            raise failed or ModelError(self._refused("it loses the question or the answer"))
        before, _, tail = whole.rpartition(_ANSWER)
        lead = before[len(prompt) :] if before.startswith(prompt) else ""
        written = bool(tail.strip())
        if not written:
            tail = self._tokenizer.eos_token or self._between(user, assistant, parts=parts) or PLAIN_STOP
        return _Habits(
            parts,
            self._takes_system(user, parts=parts),
            lead if lead.strip() else "",
            tail,
            written,
        )

    def _between(self, user: Message, assistant: Message, *, parts: bool) -> str:
        """What the template writes between an answer and the next question; "" where that is white space."""
        turns = [user, assistant, {"role": "user", "content": _NEXT}]
        try:
            text = self._rendered(turns, answering=False, parts=parts)
        except ModelError:
            return ""
        between = text.partition(_ANSWER)[2].partition(_NEXT)[0]
        return between if between.strip() and _NEXT in text else ""

    def _takes_system(self, user: Message, *, parts: bool) -> bool:
        try:
            text = self._rendered([{"role": "system", "content": _SYSTEM}, user], answering=True, parts=parts)
        except ModelError:
            return False
        return _SYSTEM in text and _QUESTION in text


def _beginning(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer puts before plain text."""
    plain = list(tokenizer("a", add_special_tokens=False, verbose=False)["input_ids"])
    whole = list(tokenizer("a", verbose=False)["input_ids"])
    for at in range(len(whole) - len(plain) + 1):
        if whole[at : at + len(plain)] == plain:
            return tuple(whole[:at])
    return ()
