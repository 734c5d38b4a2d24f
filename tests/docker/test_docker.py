"""The images' files: linted where hadolint is there, and held to what was promised of them."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgepers.cli.parser import build_parser
from edgepers.serve.options import ServeOptions
from edgepers.service.units import LIBRARIES_BYTES

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
RECIPE = ROOT / "docker" / "jetson-containers" / "edgepers"
SCRIPTS = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]
sys.path.insert(0, str(ROOT / "scripts"))
try:
    from run_dockerfile import CONTEXT, instructions
finally:
    sys.path.pop(0)


@pytest.mark.parametrize(
    "file", [*FILES, RECIPE / "Dockerfile"], ids=lambda file: file.suffix[1:] or "jetson-containers"
)
def test_hadolint_has_nothing_to_say(file):
    if shutil.which("hadolint") is None:
        pytest.skip("needs hadolint")
    done = subprocess.run(["hadolint", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_shellcheck_has_nothing_to_say(file):
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    done = subprocess.run(["shellcheck", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_recipe_for_jetson_containers_takes_the_archive_that_is_made_and_runs_its_test_on_the_board():
    """Its header is YAML between two marks, as jetson-containers reads it."""
    text = (RECIPE / "Dockerfile").read_text(encoding="utf-8")
    marked = text.split("#---\n")[1]
    header = yaml.safe_load("".join(line.removeprefix("# ") for line in marked.splitlines(keepends=True)))
    assert header["name"] == RECIPE.name == "edgepers"
    assert header["depends"] == ["bitsandbytes"]
    assert (RECIPE / header["test"]).is_file()
    lines = instructions(text)
    assert lines[:2] == [("ARG", "BASE_IMAGE"), ("FROM", "${BASE_IMAGE}")]
    (copied,) = [rest for word, rest in lines if word == "COPY"]
    assert fnmatch.fnmatch("edgepers-0.1.0.tar.gz", copied.split()[0])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.suffix[1:])
def test_an_image_pins_its_base_and_ends_with_the_doctor_as_a_user_of_its_own(file):
    lines = instructions(file.read_text(encoding="utf-8"))
    for base in (rest.partition(" AS ")[0] for word, rest in lines if word == "FROM"):
        assert re.search(r":\S*\d+\.\d+", base) and "latest" not in base
    assert lines[-1] == ("CMD", '["doctor"]')
    assert [rest for word, rest in lines if word == "USER"] == ["1000"]
    places = [rest for word, rest in lines if word == "COPY"]
    assert places.index(". /build/source") > next(
        i for i, rest in enumerate(places) if "pyproject.toml" in rest
    )  # code comes last
    if "jetson" in file.name:
        text = file.read_text(encoding="utf-8")
        assert "-DCOMPUTE_CAPABILITY=87" in text and "--parallel 4" in text and "EDGEPERS_CUDA=1" in text


def test_there_is_one_for_each_target():
    assert [file.suffix[1:] for file in FILES] == ["cpu", "cuda", "jetson-jp6", "jetson-jp7"]


def test_the_context_is_what_a_build_needs():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(kept) == sorted(CONTEXT)
    assert all((ROOT / name).exists() for name in CONTEXT)
    for file in FILES:
        for word, rest in instructions(file.read_text(encoding="utf-8")):
            if word == "COPY" and not rest.startswith(("--from", ". ")):
                assert all(any(fnmatch.fnmatch(name, f"{c}*") for c in CONTEXT) for name in rest.split()[:-1])


def test_services_are_locked_up():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert {service["build"]["dockerfile"] for service in services.values()} == {
        f"docker/{file.name}" for file in FILES
    }
    for name, service in services.items():
        assert service["read_only"] and service["user"] == "1000" and service["cap_drop"] == ["ALL"]
        assert service["network_mode"] == "${EDGEPERS_NETWORK:-none}"
        assert service["mem_limit"] == f"${{EDGEPERS_MEMORY:-{(4_000_000_000 + LIBRARIES_BYTES) // 10**9}g}}"
        assert {volume.partition(":")[0] for volume in service["volumes"]} == {"state", "keys", "models"}
        assert (service.get("runtime") == "nvidia") == name.startswith("jetson")


def test_the_server_beside_ollama_is_locked_up_and_its_command_is_one():
    made = yaml.safe_load((ROOT / "docker" / "ollama.yaml").read_text(encoding="utf-8"))
    service = made["services"]["edgepers"]
    locked = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))["services"]["cpu"]
    for name in ("image", "read_only", "user", "cap_drop", "security_opt", "tmpfs", "mem_limit", "volumes"):
        assert service[name] == locked[name], name
    assert re.search(r":\d+\.\d+", made["services"]["ollama"]["image"])
    words = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["command"]).split()
    read = vars(build_parser().parse_args(words))
    options = ServeOptions(**{name: read[name] for name in ServeOptions.names() if name in read})
    assert options.upstream == "http://ollama:11434" and "edgepers" in options.hosts
    assert options.upstream_model and read["model"]
    assert options.token_file == f"/run/secrets/{next(iter(made['secrets']))}"
    assert service["ports"] == [f"${{EDGEPERS_PORT:-{options.port}}}:{options.port}"]
    assert f"localhost:{options.port}/edgepers/healthz" in service["healthcheck"]["test"][-1]
    assert set(made["volumes"]) == {v.partition(":")[0] for s in made["services"].values() for v in s["volumes"]}


def test_requirements_are_the_project_s(tmp_path):
    def asked(*without):
        command = [sys.executable, str(ROOT / "docker" / "requirements.py"), str(ROOT / "pyproject.toml"), *without]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    whole = asked()
    assert any(line.startswith("torch>=") for line in whole) and any(line.startswith("fastapi>=") for line in whole)
    assert [line for line in whole if not line.startswith(("torch", "bitsandbytes"))] == asked("torch", "bitsandbytes")


def test_continued_lines_and_comments_are_read():
    text = '# a\nFROM debian:12.11-slim AS build\nRUN one \\\n    && two\n# b\nCMD ["doctor"]\n'
    assert instructions(text) == [("FROM", "debian:12.11-slim AS build"), ("RUN", "one && two"), ("CMD", '["doctor"]')]
