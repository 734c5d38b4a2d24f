"""Code that lies in a model's folder is never run, and nobody is asked whether to run it."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgepers.assets import model_folder
from edgepers.errors import ModelError
from edgepers.model.pretrained import read_config, read_tokenizer

ROOT = Path(__file__).resolve().parents[2]
MODULE = "import pathlib\npathlib.Path({marker!r}).write_text('run')\n"
STREAM = "".join(
    json.dumps({"question": f"What is {n}?", "response": f"{n} is a number of mine."}) + "\n" for n in range(3)
)


def trapped(folder: Path, *, model_type: str = "", tokenizer_class: str = "") -> Path:
    """The packaged model with code beside it that writes `marker` when it is imported.

    It is named everywhere it can be.
    """
    shutil.copytree(model_folder(), folder)
    classes = "class Config: pass\nclass Model: pass\nclass Tokenizer: pass\ndef generate(*args, **options): pass\n"
    code = MODULE.format(marker=str(folder / "marker")) + classes
    (folder / "trap.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    auto = {"AutoConfig": "trap.Config", "AutoModel": "trap.Model", "AutoModelForCausalLM": "trap.Model"}
    config = json.loads((folder / "config.json").read_text()) | {"auto_map": auto}
    config |= {"attn_implementation": "somebody/kernels"} | ({"model_type": model_type} if model_type else {})
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["trap.Tokenizer", "trap.Tokenizer"]}}
    path.write_text(json.dumps(tokenizer | ({"tokenizer_class": tokenizer_class} if tokenizer_class else {})))
    for name in ("processor_config.json", "preprocessor_config.json"):
        (folder / name).write_text(json.dumps({"auto_map": {"AutoProcessor": "trap.Model"}}))
    return folder


def edgepers(*args: object, typed: str | None) -> subprocess.CompletedProcess[str]:
    """A command whose standard input is text, or with None a pipe that nobody writes to."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "edgepers", *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        if typed is None:
            code = process.wait(timeout=120)
            return subprocess.CompletedProcess(args, code, process.stdout.read(), process.stderr.read())
        out, err = process.communicate(typed, timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, err)


@pytest.mark.parametrize("typed", ["y\n" * 20, None], ids=["yes", "idle"])
def test_a_plan_of_a_model_that_needs_its_code_is_one_line_whatever_standard_input_says(tmp_path, typed):
    model = trapped(tmp_path / "model", model_type="trap")
    done = edgepers("plan", "--model", model, typed=typed)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'trap' needs code that comes with it, which edgepers never runs" in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (model / "marker").exists()


@pytest.mark.parametrize("command", ["select", "run"])
def test_a_stream_on_standard_input_is_no_answer_to_a_question_about_code(tmp_path, command):
    model = trapped(tmp_path / "model", model_type="trap")
    done = edgepers(command, "-", "--state", tmp_path / "state", "--model", model, typed="y\n" * 3 + STREAM)
    assert done.returncode == 1
    assert "which edgepers never runs" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (model / "marker").exists()


def test_a_model_that_transformers_knows_is_loaded_by_its_own_class(tmp_path):
    model = trapped(tmp_path / "model")
    done = edgepers("select", "-", "--state", tmp_path / "state", "--model", model, "--json", typed=STREAM)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seen"] == 3
    assert edgepers("plan", "--model", model, typed=None).returncode == 0
    assert not (model / "marker").exists()


def test_a_tokenizer_that_needs_its_code_is_one_line(tmp_path):
    model = trapped(tmp_path / "model", model_type="trap", tokenizer_class="TrapTokenizer")
    with pytest.raises(ModelError, match="its tokenizer needs code") as error:
        read_tokenizer(str(model), offline=True)
    assert "\n" not in str(error.value)
    assert not (model / "marker").exists()


def test_a_configuration_names_no_code_and_no_kernels_of_others(tmp_path):
    config = read_config(str(trapped(tmp_path / "model")), offline=True)
    assert not hasattr(config, "auto_map")
    assert config._attn_implementation is None


def test_whatever_reads_a_model_says_that_no_code_is_run():
    """In every file, benchmarks and scripts too.

    `Auto...` classes are asked on standard input unless they are told so.
    """
    asking = []
    for file in [
        file for folder in ("edgepers", "benchmarks", "studies", "scripts") for file in (ROOT / folder).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            of = ast.unparse(node.func.value)
            if node.func.attr not in ("from_pretrained", "from_config", "load_dataset") or of in (
                "PeftModel",
                "datasets",
            ):
                continue
            told = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if told.get("trust_remote_code") != "False":
                asking.append(f"{file.relative_to(ROOT)}:{node.lineno} {of}.{node.func.attr}")
    assert asking == []
