from collections import Counter

import pytest

from edgepers.serve.own_words import own_words
from edgepers.serve.tasks import is_task
from tests.serve.calls import OPEN_WEBUI, OTHERS, RETRIEVED, owner_calls, task_calls


def test_of_programs_tasks_99_of_100_are_kept_out_and_of_owners_turns_one_of_100_is_lost_at_most():
    tasks, turns = list(task_calls()), list(owner_calls())
    assert len(tasks) >= 300 and len(turns) >= 300
    let_in = Counter(kind for kind, messages in tasks if not is_task(messages))
    lost = [(kind, messages[-1]["content"][:60]) for kind, messages in turns if is_task(messages)]
    assert let_in.total() <= 0.01 * len(tasks), let_in
    assert len(lost) <= 0.01 * len(turns), lost


@pytest.mark.parametrize("kind", OPEN_WEBUI)
def test_each_of_open_webuis_templates_is_a_task(kind):
    of_kind = [messages for name, messages in task_calls() if name == kind]
    assert of_kind and all(is_task(messages) for messages in of_kind)


@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_titles_and_questions_put_anew_of_other_programs_are_tasks(number):
    of_kind = [messages for name, messages in task_calls() if name == f"other {number}"]
    assert of_kind and all(is_task(messages) for messages in of_kind)


def test_what_the_program_says_decides():
    title = [{"role": "user", "content": OPEN_WEBUI["title"]}]
    hello = [{"role": "user", "content": "Hello"}]
    assert not is_task(title, "") and is_task(hello, "title_generation")
    assert is_task(title, None) and not is_task(hello, None)


def test_of_a_turn_with_retrieved_context_the_owners_words_alone_are_left():
    for kind, messages in owner_calls():
        if kind.startswith("retrieved"):
            said = own_words(messages[-1]["content"])
            assert said and "cardamom" not in said and "<" not in said and "Task" not in said
    assert own_words(RETRIEVED) == ""


@pytest.mark.parametrize("piece", ["<context>", "\n \n", "user:\n", "title of this chat ", "summarize the chat "])
def test_a_long_turn_of_whatever_kind_is_read_in_no_time(piece):
    """Rules that look back and forth in it would take minutes; this ends, or the run of the tests does not."""
    text = piece * (1_000_000 // len(piece))
    assert own_words(text) == "" and is_task([{"role": "user", "content": text}]) in (True, False)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Hello <b>there</b>", "Hello <b>there</b>"),
        ("<attached_files>\n<file id='1'/>\n</attached_files>\n\nWhat is in it?", "What is in it?"),
        (
            "Use the following context as your learned knowledge, inside <context></context> XML tags.\n<context>\nx\n"
            "</context>\n\nGiven the context information, answer the query.\nQuery: Who baked?",
            "Who baked?",
        ),
        ("<!-- SYSTEM CONTEXT (NOT PART OF USER QUERY) -->a file<!-- END SYSTEM CONTEXT -->\nRead it", "Read it"),
        ("### Task: plan my week", "### Task: plan my week"),
    ],
)
def test_own_words(text, own):
    assert own_words(text) == own
