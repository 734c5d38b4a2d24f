"""The interface as the most used client of it meets it: the official `openai` package, over a real socket."""

import contextlib
import json
import threading
import time

import httpx
import openai
import pytest

from edgepers.model.language_model import Completion
from edgepers.serve.answer import Answering
from tests.serve.running import running, until

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]


def test_a_whole_answer_is_the_models_own(client, llm):
    got = client.chat.completions.create(model="personal", messages=FRANCE, max_tokens=40)
    choice = got.choices[0]
    assert choice.message.role == "assistant" and choice.message.tool_calls is None
    assert choice.message.content == llm.complete(FRANCE, max_tokens=40).text
    assert got.id.startswith("chatcmpl-") and got.object == "chat.completion" and got.model == "personal"
    assert got.system_fingerprint == "edgepers-base"
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens > 0


def test_a_stream_has_the_role_first_null_reasons_then_a_last_one_and_no_usage_unless_asked_for(client):
    chunks = list(client.chat.completions.create(model="personal", messages=FRANCE, max_tokens=40, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content == ""
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-1]) and len(chunks) > 4
    last = chunks[-1].choices[0]
    assert last.finish_reason in ("stop", "length") and last.delta.content is None and last.delta.role is None
    assert all(chunk.usage is None for chunk in chunks) and len({chunk.id for chunk in chunks}) == 1
    whole = client.chat.completions.create(model="personal", messages=FRANCE, max_tokens=40)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == whole.choices[0].message.content
    asked = client.chat.completions.create(
        model="personal", messages=FRANCE, max_tokens=40, stream=True, stream_options={"include_usage": True}
    )
    *others, end = asked
    assert end.choices == [] and end.usage == whole.usage and all(chunk.usage is None for chunk in others)


def test_the_bytes_of_a_stream_end_with_done(server):
    with server.http() as http:
        body = {"model": "personal", "messages": FRANCE, "max_tokens": 4, "stream": True}
        got = http.post("/v1/chat/completions", json=body)
    events = got.text.split("\n\n")
    assert got.headers["content-type"].startswith("text/event-stream")
    assert events[-2:] == ["data: [DONE]", ""] and all(event.startswith("data: ") for event in events[:-1])
    assert json.loads(events[0][6:])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert json.loads(events[-3][6:])["choices"][0]["delta"] == {}


def slow(pieces, pause=0.05):
    """In place of the model: pieces that come one after the other, until nobody waits any more."""

    def write(self, wish, choice, on_text, left):
        for number in range(pieces):
            if left():
                return Completion("...", "left", 1, number)
            on_text(f"{number} ")
            time.sleep(pause)
        return Completion("...", "stop", 1, pieces)

    return write


def test_pieces_come_while_the_answer_is_written(client, monkeypatch):
    monkeypatch.setattr(Answering, "write", slow(12))
    times = []
    for _ in client.chat.completions.create(model="personal", messages=FRANCE, stream=True):
        times.append(time.monotonic())
    assert times[-1] - times[1] > 0.3  # not all at once: twelve pieces, a twentieth of a second apart


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_place_and_nothing_is_learned(server, client, monkeypatch, stream):
    monkeypatch.setattr(Answering, "write", slow(10_000, 0.01))
    body = {"model": "personal", "messages": FRANCE, "stream": stream}
    with (
        server.http() as http,
        contextlib.suppress(httpx.ReadTimeout),
        http.stream("POST", "/v1/chat/completions", json=body, timeout=1.0) as got,
    ):
        next(got.iter_raw())  # of a stream there is a first piece, of a whole answer nothing in time
    monkeypatch.setattr(Answering, "write", slow(2))
    assert client.chat.completions.create(model="personal", messages=FRANCE).choices[0].message.content == "..."
    until(lambda: server.status()["outcomes"].get("cut") == 1)


def test_more_than_may_wait_are_refused_with_429_and_when_to_come_again(owner, monkeypatch):
    monkeypatch.setattr(Answering, "write", slow(10_000, 0.01))
    with running(owner, waiting=1) as server, server.http() as http:
        url = f"{server.address}/v1"
        body = {"model": "personal", "messages": FRANCE}
        leave = []

        def ask():
            with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=3) as client:
                with pytest.raises(openai.APITimeoutError):
                    client.chat.completions.create(**body)
                leave.append(1)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        threads[0].start()
        time.sleep(0.5)
        threads[1].start()
        until(lambda: server.status()["waiting"] == 1)
        got = http.post("/v1/chat/completions", json=body)
        assert got.status_code == 429 and int(got.headers["retry-after"]) >= 1
        assert got.json()["error"]["type"] == "rate_limit_error" and got.json()["error"]["code"] == "queue_full"
        for thread in threads:
            thread.join()
        monkeypatch.setattr(Answering, "write", slow(1))
        until(lambda: http.post("/v1/chat/completions", json=body).status_code == 200)


def test_three_models_are_listed_and_one_is_told(client, owner):
    assert [model.id for model in client.models.list()] == ["personal", "base"]
    (owner.state.adapters / "0001").mkdir(parents=True)
    owner.buffer.save(owner.buffer.progress.round_done(1, synthesized=0, refused={}, published="0001", keep=3))
    assert [model.id for model in client.models.list()] == ["personal", "base", "personal@0001"]
    assert client.models.retrieve("personal").id == "personal"
    assert client.models.retrieve("personal@0001").model_extra["adapter"] == "0001"
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'; there are personal, base, personal@0001"):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-4", messages=FRANCE)
    assert refused.value.code == "model_not_found" and refused.value.param == "model"


def test_a_talk_with_parts_a_developer_and_a_tools_result_is_answered(client):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How warm is it"}, {"type": "text", "text": "in Oslo?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "17 degrees"},
    ]
    got = client.chat.completions.create(model="personal", messages=messages, max_completion_tokens=4, max_tokens=99)
    assert got.usage.completion_tokens <= 4


def test_a_house_that_offers_tools_and_streams_is_answered_in_text(client):
    tool = {"type": "function", "function": {"name": "TurnOn", "parameters": {"type": "object", "properties": {}}}}
    chunks = client.chat.completions.create(
        model="personal",
        messages=[{"role": "system", "content": "You are a voice assistant."}, *FRANCE],
        tools=[tool],
        stream=True,
        max_tokens=8,
        user="01JX",
        stream_options={"include_usage": True},
    )
    *_, last, usage = chunks
    assert last.choices[0].finish_reason in ("stop", "length") and usage.usage.completion_tokens > 0


def test_stop_ends_an_answer_as_text_or_list(client):
    whole = client.chat.completions.create(model="personal", messages=FRANCE, max_tokens=40).choices[0].message.content
    word = whole.split()[2]
    for stop in (word, [word, "never"]):
        got = client.chat.completions.create(model="personal", messages=FRANCE, max_tokens=40, stop=stop).choices[0]
        assert word not in got.message.content and got.finish_reason == "stop"


def test_a_seed_makes_a_drawn_answer_the_same(client):
    def drawn(seed):
        got = client.chat.completions.create(
            model="personal", messages=FRANCE, max_tokens=16, temperature=1.5, top_p=0.9, seed=seed
        )
        return got.choices[0].message.content

    assert drawn(1) == drawn(1) and len({drawn(seed) for seed in range(4)}) > 1


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("given", "param", "says"),
    [
        ({"n": 2}, "n", "n is 2; one answer is given"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "no turn of the user's"),
        ({"messages": [{"role": "pope", "content": "x"}]}, "messages.0.role", "Input should be"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "reads text alone"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"logprobs": True}, "logprobs", "not given"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice", "answers in text"),
        ({"response_format": {"type": "json_object"}}, "response_format", "ask for text"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_had_is_400_with_the_field(client, given, param, says, stream):
    body = {"model": "personal", "messages": FRANCE, "stream": stream} | given
    with pytest.raises(openai.BadRequestError, match=says) as refused:
        client.chat.completions.create(**body)
    assert refused.value.param == param and refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 200_000, b'{"model": 1e999}', b"9" * 9000, b'{"model":"\\ud800"}'],
    ids=range(8),
)
def test_a_body_that_cannot_be_read_is_400(server, body):
    with server.http() as http:
        got = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert got.status_code == 400 and got.json()["error"]["type"] == "invalid_request_error"


def test_an_error_of_ours_is_500_and_quotes_nothing(server, client, monkeypatch):
    def fails(*_):
        raise ValueError("what the owner said")

    monkeypatch.setattr(Answering, "write", fails)
    with pytest.raises(openai.InternalServerError, match="an error that is ours") as failed:
        client.chat.completions.create(model="personal", messages=FRANCE)
    assert "owner" not in str(failed.value) and not any("what the owner said" in line for line in server.lines)


def test_an_answer_that_fails_in_the_middle_says_so_in_the_stream(client, monkeypatch):
    def fails(self, wish, choice, on_text, left):
        on_text("One ")
        raise ValueError("hidden")

    monkeypatch.setattr(Answering, "write", fails)
    with pytest.raises(openai.APIError, match="an error that is ours"):
        list(client.chat.completions.create(model="personal", messages=FRANCE, stream=True))


def test_the_next_turn_of_a_talk_reads_only_what_is_new(client, owner):
    asked = [{"role": "system", "content": "Answer in whole sentences, and be kind to whoever asks you."}, *FRANCE]
    first = client.chat.completions.create(model="personal", messages=asked, max_tokens=40)
    before = owner.llm.talks.reused_tokens
    said = {"role": "assistant", "content": first.choices[0].message.content}
    client.chat.completions.create(
        model="personal", messages=[*asked, said, {"role": "user", "content": "And of Peru?"}], max_tokens=8
    )
    assert owner.llm.talks.reused_tokens - before >= first.usage.prompt_tokens - 2


def test_unknown_paths_and_methods_are_failures_in_the_same_form(server):
    with server.http() as http:
        assert http.get("/v1/nothing").json()["error"]["type"] == "not_found_error"
        assert http.get("/v1/chat/completions").status_code == 405
        assert http.get("/healthz").json() == {"status": "ok"}
        description = http.get("/openapi.json").json()
        assert "400" in description["paths"]["/v1/chat/completions"]["post"]["responses"]


def test_metrics_count_and_quote_nothing(server, client):
    client.chat.completions.create(model="personal", messages=FRANCE, max_tokens=40)
    with server.http() as http:
        http.get("/secret-path")
        text = http.get("/metrics").text
    assert 'edgepers_requests_total{route="/v1/chat/completions",status="200"} 1' in text
    assert "edgepers_answers_total 1" in text and "# TYPE edgepers_waiting gauge" in text
    assert "France" not in text and "secret" not in text
    assert not any("France" in line for line in server.lines)
