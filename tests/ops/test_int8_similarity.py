import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepers.ops import int8_similarity, native
from edgepers.ops.similarity.numpy_kernel import similarity_numpy
from edgepers.ops.similarity.op import WIDEST
from edgepers.ops.similarity.reference import int8_similarity_reference
from tests.ops.ragged import assert_refused
from tests.ops.test_native import ISAS, built, limit  # noqa: F401

IMPLEMENTATIONS = pytest.mark.parametrize("similarity", [int8_similarity, similarity_numpy], ids=["op", "numpy"])


def drawn(rows, width, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, (rows, width)).astype(np.int8)


@IMPLEMENTATIONS
@pytest.mark.parametrize("width", [0, 1, 15, 64, 257])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (3, 4), (6, 11), (2, 530)], ids=str)
def test_similarity_is_the_reference_to_the_integer(similarity, sizes, width):
    embeddings, others = drawn(sizes[0], width), drawn(sizes[1], width, 1)
    got = similarity(embeddings, others)
    assert got.dtype == np.int32
    assert got.tolist() == int8_similarity_reference(embeddings, others).tolist()


@built
@pytest.mark.parametrize("isa", ISAS)
def test_similarity_is_exact_on_every_instruction_set(limit, isa):  # noqa: F811
    limit(isa)
    for rows, count, width in ((1, 700, 256), (5, 300, 63), (16, 33, 1024), (40, 3, 513)):
        embeddings, others = drawn(rows, width), drawn(count, width, 1)
        truth = embeddings.astype(np.int64) @ others.astype(np.int64).T
        assert np.array_equal(int8_similarity(embeddings, others), truth)


@IMPLEMENTATIONS
@pytest.mark.parametrize("width", [1024, 1025, WIDEST])
def test_similarity_of_the_largest_numbers_is_exact_up_to_the_widest(similarity, width):
    lowest = np.full((2, width), -128, np.int8)
    odd = lowest.copy()
    odd[:, 0] = 127  # one below a multiple of 128: float32 would lose it above 2**24
    assert similarity(lowest, lowest).tolist() == [[width * 2**14] * 2] * 2
    assert similarity(odd, odd).tolist() == [[(width - 1) * 2**14 + 127**2] * 2] * 2


@IMPLEMENTATIONS
def test_similarity_of_nothing(similarity):
    assert similarity(drawn(0, 8), drawn(3, 8)).shape == (0, 3)
    assert similarity(drawn(3, 8), drawn(0, 8)).shape == (3, 0)


def test_similarity_takes_any_strides():
    embeddings, others = drawn(9, 64), drawn(20, 64, 1)
    got = int8_similarity(np.asfortranarray(embeddings)[::2], others[::-1, ::3][:, :16].repeat(4, 1)[:, :64])
    assert np.array_equal(got, int8_similarity(embeddings[::2].copy(), others[::-1, ::3][:, :16].repeat(4, 1).copy()))


@pytest.mark.parametrize(
    ("embeddings", "others", "match"),
    [
        ([[1]], drawn(2, 2), "embeddings is a list; pass a 2-dimensional int8 NumPy array"),
        (drawn(2, 2)[0], drawn(2, 2), r"embeddings is int8 \[2\]"),
        (drawn(2, 2), drawn(2, 2).astype(np.int16), "others is int16"),
        (drawn(2, 2), drawn(2, 3), "others has 3 features where 2 are needed"),
        (drawn(1, WIDEST + 1), drawn(1, WIDEST + 1), "has 131072 features where at most 131071 are exact"),
    ],
)
def test_similarity_refuses_bad_arguments(embeddings, others, match):
    assert_refused(int8_similarity, match, embeddings, others)


@built
def test_the_library_itself_refuses_what_32_bits_might_not_hold():
    wide = drawn(1, WIDEST + 1)
    products = np.empty((1, 1), np.int32)
    assert native.call("edgepers_similarity", wide, wide, 1, 1, WIDEST + 1, products) == native.TOO_WIDE


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 60), st.integers(0, 300), st.integers(0, 2**31))
def test_similarity_is_the_same_integers_alone_as_in_a_batch_and_compiled_or_not(rows, count, width, seed):
    embeddings, others = drawn(rows, width, seed), drawn(count, width, seed + 1)
    together = int8_similarity(embeddings, others)
    assert np.array_equal(together, similarity_numpy(embeddings, others))
    assert np.array_equal(together, np.concatenate([int8_similarity(row[None], others) for row in embeddings]))
    assert np.array_equal(together, int8_similarity(others, embeddings).T)
