import openai
import pytest

from edgepers.config import Settings
from edgepers.personalize import Personalizer
from tests.serve.running import running

QUICK = {"every": 200, "annotations_per_round": 3, "generations": 0, "steps": 2, "storage": 64_000, "rehearsal": 0}


@pytest.fixture
def owner(llm, tmp_path):
    with Personalizer(tmp_path / "state", Settings.make(QUICK), llm=llm, source=lambda _: None) as made:
        yield made


@pytest.fixture
def server(owner):
    with running(owner) as made:
        yield made


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made
