"""The compiled kernels as a library: found, refused, limited to each instruction set.

And the laws that only they promise.
"""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from edgepers import ops
from edgepers.errors import EdgepersError
from edgepers.ops import dispatch, embedding_entropy, mean_unit_embedding, native, probe, score_tokens
from edgepers.ops.scores.reference import score_tokens_reference
from edgepers.ops.windowed import WINDOW
from edgepers.ops.windowed.native_kernel import score_cpp, score_cuda
from tests.numerics import assert_as_accurate_as_torch
from tests.ops.ragged import DTYPES, batch, offsets_of

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "csrc" / "build.py"
CXX = os.environ.get("CXX", "c++")
built = pytest.mark.skipif(not native.has("cpu"), reason="the C++ kernels are not built")
compiler = pytest.mark.skipif(shutil.which(CXX) is None, reason="no C++ compiler")
ISAS = (
    *("sse2", "avx2", "avx512", "avx512vnni", "avx512bf16"),
    *("neon", "neon_dot", "neon_fp16", "neon_bf16", "generic"),
)
LAUNCHED = (  # what edgepers_score_tokens_cuda takes, but for the stream
    *("hidden", "dtype", "center", "offsets", "tasks", "sets", "count", "width"),
    *("live", "counts", "sums", "tallies", "entropy", "embedding"),
)
FACTS = "int edgepers_abi(void) {{ return {abi}; }} int edgepers_window(void) {{ return {window}; }}"


@pytest.fixture
def limit():
    """Forbid instruction sets above one of a name; skip where the machine has it not."""
    library = native.library("cpu")

    def to(name: str) -> None:
        if not library.edgepers_limit_isa(name.encode()) or native.isa() != name:
            pytest.skip(f"this machine has no {name}")

    yield to
    library.edgepers_limit_isa(None)


def tiny_library(folder: Path, body: str) -> None:
    """A library of another interface, from a line of C."""
    source = folder / "tiny.c"
    source.write_text(body)
    subprocess.run([CXX, "-x", "c", "-shared", "-fPIC", source, "-o", folder / "_native_cpu.so"], check=True)


def test_library_that_is_not_built_is_quiet(tmp_path):
    assert native.library("cpu", tmp_path) is None


def test_broken_library_is_refused_with_the_cure(tmp_path):
    (tmp_path / "_native_cpu.so").write_bytes(b"\x7fELF no library at all")
    with pytest.raises(
        EdgepersError, match=r"_native_cpu.so do not load .*rebuild csrc: pip install --force-reinstall"
    ):
        native.library("cpu", tmp_path)


@compiler
@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("int edgepers_abi(void) { return 999; }", rf"are of interface 999 where {native.ABI} is needed; rebuild"),
        ("int something(void) { return 1; }", "do not load .*edgepers_abi.*rebuild"),
        (FACTS.format(abi=native.ABI, window=8), "cut windows of 8 rows where 16 are meant; rebuild"),
        (FACTS.format(abi=native.ABI, window=16), "lack edgepers_isa; rebuild"),
    ],
    ids=["stale", "foreign", "other window", "incomplete"],
)
def test_stale_library_is_refused_with_the_cure(tmp_path, body, match):
    tiny_library(tmp_path, body)
    with pytest.raises(EdgepersError, match=match):
        native.library("cpu", tmp_path)


def test_signatures_and_interface_version_are_those_of_the_header():
    header = (ROOT / "csrc" / "edgepers.h").read_text()
    assert f"#define EDGEPERS_ABI {native.ABI} " in header
    flat = " ".join(line.strip() for line in header.splitlines() if not line.startswith("//"))
    for name, (_, _, arguments) in native.SIGNATURES.items():
        declared = flat.split(f"{name}(", 1)[1].split(")", 1)[0]
        parts = [] if declared == "void" else declared.split(",")
        assert len(parts) == len(arguments), f"{name} takes {len(parts)} arguments, the table says {len(arguments)}"
        for part, ctype in zip(parts, arguments, strict=True):
            kind = "pointer" if "*" in part else "int64_t" if "int64_t" in part else "int"
            assert kind == {ctypes.c_int: "int", ctypes.c_int64: "int64_t"}.get(ctype, "pointer"), f"{name}: {part}"


@pytest.mark.skipif(not native.has("cuda"), reason="the CUDA kernels are not built")
def test_the_cuda_library_loads_without_a_gpu_and_names_whole_windows_as_a_task():
    assert native.call("edgepers_cuda_task_rows") % WINDOW == 0


@pytest.mark.parametrize("rows", [32, 64])
def test_a_set_is_cut_into_as_many_tasks_as_the_cuda_library_says(monkeypatch, rows):
    launched = {}
    monkeypatch.setattr(native, "call", lambda name: rows if name == "edgepers_cuda_task_rows" else None)
    monkeypatch.setattr(
        native, "launch", lambda name, *arguments: launched.update(zip(LAUNCHED, arguments, strict=True))
    )
    lengths = (1, 31, 32, 33, 64, 65, 200)
    score_cuda("score_tokens", torch.ones(sum(lengths), 8), offsets_of(lengths), None)
    tasks = [0, *accumulate(-(-length // rows) for length in lengths)]
    assert launched["tasks"].tolist() == tasks
    assert (launched["count"], len(launched["sums"]), len(launched["tallies"])) == (tasks[-1],) * 3


def test_a_launch_is_on_the_current_stream_of_the_device_that_holds_its_first_tensor(monkeypatch):
    entered, launched = [], []

    @contextmanager
    def device_of(tensor):
        entered.append(tensor)
        yield
        entered.pop()

    def current_stream():  # torch's, too, is of the device that is current when it is asked
        return SimpleNamespace(cuda_stream=4711 if entered else 0)

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(native, "call", lambda *arguments: launched.append((len(entered), *arguments)) or native.OK)
    first = torch.ones(2)
    native.launch("edgepers_score_tokens_cuda", first, 5)
    assert launched == [(1, "edgepers_score_tokens_cuda", first, 5, 4711)]


def test_backends_on_the_cpu_are_one_word_for_all_compiled_ops():
    named = ops.backends("cpu")
    expected = "cpp" if native.has("cpu") else "torch"
    assert {named[op] for op in ("score_tokens", "embedding_entropy", "mean_unit_embedding")} == {expected}
    assert {named[op] for op in ("in_domain_dissimilarity", "dissimilarity_from_sums", "nearest_distance")} == {"torch"}
    assert named["int8_similarity"] == ("cpp" if native.has("cpu") else "numpy")


@built
def test_backends_refuse_a_kernel_that_is_wrong(monkeypatch):
    right = probe.embedding_entropy_reference
    monkeypatch.setattr(probe, "embedding_entropy_reference", lambda *args: right(*args) + 1e-3)
    with pytest.raises(EdgepersError, match=r"embedding_entropy: the cpp kernel on cpu is off by 0.001; rebuild"):
        ops.backends("cpu")


@built
def test_backends_refuse_an_integer_that_is_off_by_one(monkeypatch):
    right = probe.int8_similarity_reference
    monkeypatch.setattr(probe, "int8_similarity_reference", lambda *args: right(*args) + 1)
    with pytest.raises(EdgepersError, match=r"int8_similarity: the cpp kernel on cpu is off by 1; rebuild"):
        ops.backends("cpu")


def test_gpu_falls_to_cuda_then_triton_then_torch(monkeypatch):
    for has_cuda, has_triton, expected in ((True, True, "cuda"), (False, True, "triton"), (False, False, "torch")):
        dispatch._backend.cache_clear()
        monkeypatch.setattr(dispatch.native, "has", lambda kind, answer=has_cuda: answer)
        monkeypatch.setattr(dispatch, "find_spec", lambda name, answer=has_triton: answer or None)
        assert dispatch.backend_of("score_tokens", "cuda") == expected
    assert dispatch.backend_of("in_domain_dissimilarity", "cuda") == "torch"
    dispatch._backend.cache_clear()


@built
@DTYPES
@pytest.mark.parametrize("isa", ISAS)
def test_scores_match_reference_on_every_instruction_set(limit, isa, dtype):
    limit(isa)
    results = []
    for width in (1, 63, 64, 3072, 4096):
        hidden, offsets, center = batch(width, dtype, lengths=(1, 2, 15, 16, 17, 140))
        for some in (None, center):
            args = hidden, offsets, "windowed", some
            plain = score_tokens_reference(*args, dtype=torch.float32)
            results.append(
                [torch.cat([e, u.flatten()]) for e, u in (score_tokens(*args), score_tokens_reference(*args), plain)]
            )
    assert_as_accurate_as_torch(*(torch.cat(values) for values in zip(*results, strict=True)))


@built
@DTYPES
@pytest.mark.parametrize("isa", ISAS)
def test_scores_of_hard_numbers_on_every_instruction_set(limit, isa, dtype):
    limit(isa)
    torch.manual_seed(0)
    if dtype == torch.float16:
        hidden = torch.randn(64, 512) * 1e4
    else:
        hidden = torch.randn(64, 2048) * torch.where(torch.arange(2048) % 2 == 0, 1e3, 1e-3)
    hidden[40:] = hidden[0]  # parallel rows
    hidden = hidden.to(dtype)
    args = hidden, offsets_of([40, 24])
    plain = score_tokens_reference(*args, dtype=torch.float32)
    for got, truth, torchs in zip(score_tokens(*args), score_tokens_reference(*args), plain, strict=True):
        assert_as_accurate_as_torch(got, truth, torchs)


@built
@DTYPES
def test_scores_are_the_same_bits_alone_in_any_batch_and_on_any_number_of_threads(dtype):
    lengths = [5, 129, 40, 300, 1, 16, 128, 2]
    hidden, offsets, center = batch(2000, dtype, tuple(lengths))  # wide enough for the kernels to use two threads
    for some in (None, center):
        together = score_tokens(hidden, offsets, center=some)
        order = [3, 0, 7, 1]
        pieces = hidden.split(lengths)
        shuffled = score_tokens(
            torch.cat([pieces[i] for i in order]), offsets_of([lengths[i] for i in order]), center=some
        )
        assert all(torch.equal(a[order], b) for a, b in zip(together, shuffled, strict=True))
        for i, rows in enumerate(pieces):
            alone = score_tokens(rows, offsets_of([len(rows)]), center=some)
            assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))
            assert torch.equal(alone[0], embedding_entropy(rows, offsets_of([len(rows)]), center=some))
            assert torch.equal(alone[1], mean_unit_embedding(rows, offsets_of([len(rows)]), some))
        threads = torch.get_num_threads()
        try:
            for count in (1, 2, 7):
                torch.set_num_threads(count)
                assert all(
                    torch.equal(a, b) for a, b in zip(together, score_tokens(hidden, offsets, center=some), strict=True)
                )
        finally:
            torch.set_num_threads(threads)


@built
def test_scores_of_five_thousand_sets():
    torch.manual_seed(0)
    lengths = torch.randint(1, 9, (5000,)).tolist()
    hidden, offsets = torch.randn(sum(lengths), 24), offsets_of(lengths)
    for got, truth, plain in zip(
        score_tokens(hidden, offsets),
        score_tokens_reference(hidden, offsets),
        score_tokens_reference(hidden, offsets, dtype=torch.float32),
        strict=True,
    ):
        assert_as_accurate_as_torch(got, truth, plain)


@built
def test_scores_of_views_that_start_inside_a_tensor():
    hidden, offsets, center = batch(65, lengths=(30, 7))
    shifted = torch.empty(hidden.numel() + 1)[1:].view_as(hidden).copy_(hidden)  # rows on no boundary of any vector
    assert all(
        torch.equal(*pair)
        for pair in zip(
            score_tokens(shifted, offsets, center=center), score_tokens(hidden, offsets, center=center), strict=True
        )
    )


@built
@pytest.mark.slow
def test_scores_index_past_two_to_the_31():
    rows, width = (1 << 19) + 40, 4096
    memory = mmap.mmap(-1, rows * width * 2)
    memory.madvise(
        mmap.MADV_HUGEPAGE
    )  # memory that is only read is one page of zeros, and a big page takes fewer faults
    hidden = torch.frombuffer(memory, dtype=torch.bfloat16).view(rows, width)
    torch.manual_seed(0)
    hidden[-20:] = torch.randn(20, width)
    args = hidden, torch.tensor([0, rows - 20, rows])
    entropy, embedding = score_cpp("score_tokens", *args, None)
    truth = score_tokens_reference(hidden[-20:], torch.tensor([0, 20]))
    assert entropy[0] == 0 and not embedding[0].any()
    assert entropy[1].item() == pytest.approx(truth[0].item(), abs=1e-6)
    torch.testing.assert_close(embedding[1], truth[1][0].float())


@compiler
def test_build_of_nothing_installs_and_scores_in_torch(tmp_path):
    env = {**os.environ, "EDGEPERS_NATIVE": "0"}
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build",
        "--build-base",
        str(tmp_path / "base"),
        "--build-lib",
        str(tmp_path / "lib"),
    ]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    assert (tmp_path / "lib" / "edgepers" / "ops" / "native.py").exists()
    assert not list((tmp_path / "lib").rglob("*.so"))
    code = "import edgepers.ops as ops; print(sorted(set(ops.backends('cpu').values())))"
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['numpy', 'torch']"


@compiler
def test_build_goes_on_without_a_compiler(tmp_path):
    env = {**os.environ, "CXX": "no-such-compiler", "EDGEPERS_CUDA": "0"}
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build",
        "--build-base",
        str(tmp_path / "base"),
        "--build-lib",
        str(tmp_path / "lib"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    assert "edgepers.ops._native_cpu is not built, torch or Triton serves in its place" in done.stderr
    assert not list((tmp_path / "lib").rglob("*.so"))
