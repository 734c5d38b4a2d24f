import subprocess
import sys

from edgepers import ops


def test_backends_name_an_implementation_for_every_op():
    assert set(ops.backends()) == set(ops.__all__) - {"backends"}
    assert set(ops.backends().values()) <= {"cuda", "triton", "cpp", "torch", "numpy"}


def test_ops_are_functions_that_say_what_they_do():
    for name in ops.__all__:
        assert callable(getattr(ops, name)) and getattr(ops, name).__doc__


def test_no_import_puts_a_folder_in_the_place_of_a_function():
    code = (
        "import pkgutil, importlib, edgepers.ops as ops\n"
        "for module in pkgutil.walk_packages(ops.__path__, 'edgepers.ops.'):\n"
        "    if 'triton' not in module.name and '_native' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
        "print([name for name in ops.__all__ if not callable(getattr(ops, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_an_index_of_kept_sets_and_its_products_load_no_torch():
    code = """
import sys
import numpy as np
from edgepers.select.index import Index
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor

vectors = np.random.default_rng(0).integers(-15, 16, (3, 64)).astype(np.int8)
sets = [KeptSet(i, "", "q", "r", None, "a", 0.5, 0.1, vector, Cursor()) for i, vector in enumerate(vectors)]
index = Index(64, sets[:2])
index.add(sets[2])
kept = index.kept()
kept.pairs.follow(kept.embedding, kept.annotated)
assert kept.pairs.first() is not None and index.dissimilarity_of(vectors[0], "a") > 0
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
