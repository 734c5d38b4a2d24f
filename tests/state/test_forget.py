import json
import shutil

import pytest

from edgepers.assets import sample_stream
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.errors import StateError, UsageError
from edgepers.personalize import Personalizer
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.forget import find, forget

QUICK = {
    "annotations": "gold",
    "every": 16,
    "annotations_per_round": 4,
    "generations": 1,
    "steps": 2,
    "storage": 64_000,
    "rehearsal": 0,
    "guard": False,
}


@pytest.fixture(scope="module")
def made(llm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forget") / "state"
    with Personalizer(folder, Settings.make(QUICK), llm=llm) as owner:
        owner.run(sample_stream(), limit=48)
    return folder


@pytest.fixture
def state(made, tmp_path, own_keys) -> State:
    return State(shutil.copytree(made, tmp_path / "state"))


def test_what_learned_from_a_forgotten_set_is_withdrawn_and_an_earlier_adapter_comes_back(state):
    with Buffer(state.folder, QUICK["storage"]) as buffer:
        rounds = state.round_reports(buffer.progress.rounds)
        assert [r["published"] for r in rounds] == [True, True, True]
        late = (set(rounds[1]["trained_on"]) - set(rounds[0]["trained_on"])).pop()
        had = len(buffer)
        done = forget(state, buffer, find(buffer, name=str(late)))
        assert done == {"forgotten": [late], "withdrawn": ["0002", "0003"], "published": "0001"}
        assert (len(buffer), buffer.progress.forgotten) == (had - 1, 1)
        assert late not in state.variations(buffer.sealer)
        assert sorted(p.name for p in state.adapters.iterdir()) == ["0001", "current"]
        assert (state.adapters / "current").read_text().strip() == "0001"
        first = rounds[0]["trained_on"][0]
        assert forget(state, buffer, find(buffer, name=str(first)))["published"] is None
        progress = buffer.progress
        assert len(buffer) == progress.admitted - progress.evicted - progress.forgotten
    with Personalizer(state.folder) as owner:
        assert owner.buffer.progress.published == ""


def test_forgetting_what_was_never_learned_withdraws_nothing(state):
    with Buffer(state.folder, QUICK["storage"]) as buffer:
        free = [kept for kept in buffer if not kept.annotated]
        done = forget(state, buffer, free[:2])
        assert (len(done["forgotten"]), done["withdrawn"], done["published"]) == (2, [], "0003")
        everything = find(buffer, everything=True)
        assert forget(state, buffer, everything)["published"] is None
        assert len(buffer) == 0


def test_an_interrupted_withdrawal_is_finished_when_the_state_opens(state, llm):
    with Buffer(state.folder, QUICK["storage"]) as buffer:
        assert buffer.progress.published == "0003"
        buffer.save(buffer.progress.adapters_withdrawn(("0003",)))
    with Personalizer(state.folder, llm=llm) as owner:
        assert owner.buffer.progress.withdrawn == ()
    assert not (state.adapters / "0003").exists()
    assert (state.adapters / "current").read_text().strip() == "0002"


def test_what_is_meant_must_be_said(made):
    with Buffer(made) as buffer:
        for wrong in ({}, {"name": "1", "everything": True}, {"matching": " "}):
            with pytest.raises(UsageError):
                find(buffer, **wrong)
        for unknown in ({"name": "nobody"}, {"matching": "xylophonist"}):
            with pytest.raises(StateError, match="nothing was forgotten"):
                find(buffer, **unknown)
        word = next(iter(buffer)).question.split()[0]
        assert find(buffer, matching=word.upper())


def test_on_the_command_line(state, capsys):
    with Buffer(state.folder) as buffer:
        name = next(kept.id for kept in buffer if not kept.annotated)
    assert main(["forget", "--state", str(state.folder), name, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["forgotten"]) == 1
    assert main(["forget", "--state", str(state.folder), name]) == 1
    assert main(["forget", "--state", str(state.folder)]) == 2
