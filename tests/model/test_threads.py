"""Answers asked from several threads at once, and how an answer ends."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

from edgepers.model.language_model import LanguageModel


def test_answers_from_threads_are_those_of_one_after_the_other(llm, tmp_path):
    llm.start_lora(2, 0).save_pretrained(tmp_path)
    llm.use_adapter(tmp_path)
    asked = [("What is bread?", True), ("Can you help me?", False), ("Tell me a story.", True), ("Hi", False)] * 2

    def answered(one: tuple[str, bool]) -> str:
        return llm.complete(one[0], adapter=one[1], max_tokens=8, temperature=0.7, seed=3).text

    want = [answered(one) for one in asked]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(answered, asked)) == want


def test_no_call_switches_what_others_log_or_warn(llm, monkeypatch):
    changed = []
    monkeypatch.setattr(logging.Logger, "setLevel", lambda self, level: changed.append(self.name))
    monkeypatch.setattr(warnings, "simplefilter", lambda *args, **options: changed.append("warnings"))
    llm.complete("Hi", max_tokens=2)
    assert changed == []


def test_an_answer_ends_at_a_stop_text_that_spans_two_pieces(llm):
    whole = llm.complete("Tell me about bread.", max_tokens=24)
    at = len(whole.text) // 2
    stop = whole.text[at : at + 6]
    pieces: list[str] = []
    cut = llm.complete("Tell me about bread.", max_tokens=24, stop=[stop], on_text=pieces.append)
    assert cut.text == whole.text[: whole.text.index(stop)].strip()
    assert cut.finish == "stop"
    assert "".join(pieces) == cut.text


def test_an_answer_says_why_it_ended(llm: LanguageModel):
    short = llm.complete("Tell me a long story.", max_tokens=2)
    assert (short.finish, short.completion_tokens) == ("length", 2)
    assert short.prompt_tokens == len(llm.prompts.ids(llm.prompt("Tell me a long story.")))
