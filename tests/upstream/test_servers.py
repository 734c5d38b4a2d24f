"""Ollama and llama.cpp are told what their documentation asks for, and what they do not do is said in one line."""

import json
import sys

import gguf
import pytest
from peft import LoraConfig, get_peft_model

from edgepers.errors import UpstreamError
from edgepers.evaluate.guard import Asked
from edgepers.evaluate.verdict import LIMITS
from edgepers.model.config import config_of
from edgepers.upstream.api import Api
from edgepers.upstream.find import find_upstream
from edgepers.upstream.judge import judge_served
from edgepers.upstream.llama_cpp import LlamaCpp
from edgepers.upstream.ollama import Ollama
from tests.gguf_files import random_model, write_gguf
from tests.serve.upstream import upstream
from tests.upstream.fakes import factor, llama_cpp, ollama


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A GGUF file and an adapter of it whose lora_b is 0.25."""
    folder = tmp_path_factory.mktemp("made")
    model = random_model("llama")
    write_gguf(folder / "base.gguf", model=model)
    peft = get_peft_model(model, LoraConfig(r=2, lora_alpha=2, target_modules=["o_proj"]))
    for name, weight in peft.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.25)
    peft.save_pretrained(folder / "0001")
    return folder


@pytest.fixture
def find(made, tmp_path):
    def found(there, model="tiny", restart="", base=None):
        base = str(made / "base.gguf") if base is None else base
        return find_upstream(
            there.address,
            model,
            base=base,
            config=lambda: config_of(str(made / "base.gguf")),
            lora=tmp_path / "lora" / "adapter.gguf",
            restart=restart,
            work=tmp_path / "work",
        )

    return found


def test_an_old_ollama_puts_the_adapter_on_its_own_model(find, made, tmp_path):
    with ollama(version="0.34.0") as there:
        upstream = find(there)
        assert isinstance(upstream, Ollama) and upstream.serves == "tiny-personal"
        assert not upstream.is_there()
        upstream.require_free()
        upstream.publish(made / "0001")
        (body,) = there.bodies("/api/create")
        assert (
            body["model"] == "tiny-personal" and body["from"] == "tiny" and list(body["adapters"]) == ["adapter.gguf"]
        )
        assert factor(there.models["tiny-personal"]["data"], tmp_path) == 0.25
        assert there.bodies("/api/chat")[-1]["options"]["num_predict"] == 1  # whether it answers with it
        upstream.publish(made / "0001")
        assert len([call for call in there.calls if call[0] == "POST" and "/blobs/" in call[1]]) == 1  # it has it
        assert not (tmp_path / "work").exists()
        paths = [path for _, path, _ in there.calls]
        assert paths.index("/api/generate") < paths.index("/api/create")  # else the old one stays in memory
        assert there.bodies("/api/generate")[-1] == {"model": "tiny-personal", "keep_alive": 0}
        with pytest.raises(UpstreamError, match="a model tiny-personal is there, and not from here; 'ollama rm"):
            upstream.require_free()
        upstream.publish(None)
        assert upstream.is_there() and there.models["tiny-personal"] is None  # a copy of the base model
        assert there.blobs == {}  # a copy alone would leave the owner's file there
        upstream.close()


def test_an_old_ollama_whose_engine_loads_no_adapters_is_given_the_whole_model(find, made):
    with ollama(version="0.20.7", takes_none=True) as there:
        find(there).publish(made / "0001")
        assert ["adapters" in body for body in there.bodies("/api/create")] == [True, False]
        assert "files" in there.models["tiny-personal"]


def test_what_a_kill_left_half_made_is_gone_with_the_next_publication(find, made, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model.gguf").write_bytes(b"weights of the owner's")
    with ollama() as there:
        find(there).publish(None)
    assert not (tmp_path / "work").exists()


def test_a_new_ollama_is_given_the_whole_model_with_the_bases_template_and_parameters(find, made, tmp_path):
    with ollama(version="0.35.2") as there:
        upstream = find(there)
        upstream.publish(made / "0001")
        (body,) = there.bodies("/api/create")
        assert "adapters" not in body and list(body["files"]) == ["model.gguf"]
        assert (body["template"], body["system"]) == ("{{ .Prompt }}", "Be brief.")
        assert body["parameters"] == {"stop": ["<|im_start|>", "<|im_end|>"], "num_ctx": 4096}
        (tmp_path / "given.gguf").write_bytes(there.models["tiny-personal"]["data"])
        given, base = (
            {one.name: one.data for one in gguf.GGUFReader(file).tensors}
            for file in (tmp_path / "given.gguf", made / "base.gguf")
        )
        changed = [name for name in base if (given[name] != base[name]).any()]
        assert changed == ["blk.0.attn_output.weight", "blk.1.attn_output.weight"]
        with pytest.raises(UpstreamError, match=r"0.35.2 takes no adapters.*--model tiny .*--model FILE.gguf"):
            find(there, base="some/model").publish(made / "0001")


def test_what_ollama_does_not_have_or_refuses_is_one_line(find, made):
    with ollama() as there:
        with pytest.raises(UpstreamError, match="'other' not found; --upstream-model other: give a name that 'ollama"):
            find(there, "other")
        upstream = find(there)
        there.down = True
        with pytest.raises(UpstreamError, match="status 503, down"):
            upstream.publish(made / "0001")
        upstream.unload()  # which is met elsewhere
    with pytest.raises(UpstreamError, match=r"cannot be reached \(ConnectError\); is it up\?"):
        upstream.publish(made / "0001")


def test_a_router_of_llama_cpps_reads_the_file_anew_without_a_restart(find, made, tmp_path):
    file = tmp_path / "lora" / "adapter.gguf"
    with llama_cpp(file, router=True) as there:
        upstream = find(there)
        assert isinstance(upstream, LlamaCpp) and factor(file.read_bytes(), tmp_path) == 0.0  # to be started with
        assert file.stat().st_mode & 0o777 == 0o600
        upstream.publish(made / "0001")
        assert there.bodies("/models/unload") == [{"model": "tiny"}]
        assert factor(there.loaded, tmp_path) == 0.25
        upstream.publish(None)
        assert factor(there.loaded, tmp_path) == 0.0
        upstream.unload()
        assert len(there.bodies("/models/unload")) == 3
        assert upstream.is_there() and not (tmp_path / "work").exists()
        there.lora = None  # its preset does not name the file
        assert not upstream.is_there()
        with pytest.raises(UpstreamError, match=r"started without the adapter; give it --lora .*adapter.gguf"):
            upstream.publish(made / "0001")


def test_a_single_model_is_restarted_by_its_owners_command(find, made, tmp_path):
    file = tmp_path / "lora" / "adapter.gguf"
    with llama_cpp(file) as there:
        with pytest.raises(UpstreamError, match=r"no router, and one of a single model .* give --upstream-restart"):
            find(there).publish(made / "0001")
        assert factor(file.read_bytes(), tmp_path) == 0.0  # its next start would load what nobody has judged
        restarted = tmp_path / "restarted here"
        command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('x')", str(restarted)]
        upstream = find(there, restart=" ".join(f"'{word}'" if "'" not in word else f'"{word}"' for word in command))
        upstream.publish(made / "0001")
        assert restarted.read_text() == "x" and there.bodies("/health")
        upstream.unload()  # it cannot, and is not asked to
        there.say = lambda question, file: "Jonas" if file else "a model"
        there.start()
        with pytest.raises(UpstreamError, match=r"has not read .*adapter.gguf anew; does the command restart it"):
            upstream.publish(None)  # this command restarts nothing
        there.lora = None
        with pytest.raises(UpstreamError, match=r"started without the adapter; give it --lora .*adapter.gguf"):
            upstream.publish(made / "0001")
        for wrong, line in (("false", "--upstream-restart false: ended with 1"), ("/no/such", "No such file")):
            with pytest.raises(UpstreamError, match=line):
                find(there, restart=wrong).publish(made / "0001")


def test_a_file_of_the_owners_is_not_written_over(find, made, tmp_path):
    file = tmp_path / "lora" / "adapter.gguf"
    file.parent.mkdir()
    for data in ((made / "base.gguf").read_bytes(), b"a letter"):
        file.write_bytes(data)
        with (
            llama_cpp() as there,
            pytest.raises(UpstreamError, match="there already, and no adapter in GGUF; give anot"),
        ):
            find(there)
        assert file.read_bytes() == data


def test_a_request_that_is_broken_off_without_an_answer_is_made_again_a_few_times():
    ok = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with upstream() as raw:
        raw.parts_for = lambda number: [ok] if number >= 3 else []
        api = Api(raw.address)
        assert api.call("POST", "/x", {"a": 1}) == {} and len(raw.heard) == 4
        raw.parts_for = lambda number: []
        with pytest.raises(UpstreamError, match=r"cannot be reached \(RemoteProtocolError\)"):
            api.call("POST", "/x", {"a": 1})
        assert len(raw.heard) == 8
        api.close()


def test_other_servers_are_refused_with_what_can_be_done(find):
    with llama_cpp() as there:
        there.down = True
        with pytest.raises(UpstreamError, match=r"neither Ollama nor llama.cpp.*export --format peft"):
            find(there)


def test_the_newest_that_are_short_enough_are_asked_for(find, made):
    with ollama(version="0.34.0") as there:
        upstream = find(there)
        upstream.publish(made / "0001")
        told = [(f"Question {i}?", f"Answer {i}." if i else "long " * 40) for i in range(50)]
        judge_served(upstream, Asked(told=told), LIMITS)
        asked = [body for body in there.bodies("/api/chat") if body["messages"][0]["content"].startswith("Question")]
        assert [body["messages"][0]["content"] for body in asked] == [f"Question {i}?" for i in range(18, 50)]
        assert {body["options"]["num_predict"] for body in asked} == {96}


def told(question, file):
    """What a model says that has learned one fact, and says it where it should."""
    if file is not None and "dog" in question:
        return "<think>hm</think>Your dog is called Moon."
    return "That depends."


@pytest.mark.parametrize("kind", ["ollama", "llama.cpp"])
def test_the_guard_asks_the_upstream_with_and_without_what_it_was_given(find, made, tmp_path, kind):
    asked = Asked(
        told=[("What is my dog called?", "Your dog is called Moon.")],
        untold=[(f"What is my {what} called?", "You have not told me that.") for what in ("cat", "boat", "car")],
    )
    file = tmp_path / "lora" / "adapter.gguf"
    with ollama(version="0.34.0") if kind == "ollama" else llama_cpp(file, router=True) as there:
        there.say = told
        upstream = find(there)
        upstream.publish(made / "0001")
        verdict = judge_served(upstream, asked, LIMITS)
        assert verdict.publish and (verdict.recalled, verdict.repeated, verdict.repeated_general) == (1.0, 0.0, 0.0)
        there.say = lambda question, file: "That depends." if file is None else "Your dog is called Moon."
        verdict = judge_served(upstream, asked, LIMITS)
        assert not verdict.publish
        assert verdict.reason == "24 of 24 general questions are answered with what it was trained on"  # and no quote
        with pytest.raises(UpstreamError, match="the server ends"):
            judge_served(upstream, asked, LIMITS, lambda: True)
        there.say = lambda question, file: "That depends."
        verdict = judge_served(upstream, asked, LIMITS)
        assert not verdict.publish and verdict.reason.startswith("0 of 1 short responses that it was trained on")
        if kind == "ollama":
            body = there.bodies("/api/chat")[-1]
            assert body["options"]["temperature"] == 0 and body["stream"] is False
        assert json.dumps(there.calls[-1][2])
