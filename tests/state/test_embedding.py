import numpy as np
import pytest

from edgepers.state.embedding import quantize, scale, stored_width


def unit(n: int, d: int) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("d", [8, 256, 1024, 3072])
def test_stored_embeddings_keep_cosines(d):
    x = unit(40, d)
    stored = quantize(x).astype(np.int64)
    assert stored.shape == (40, stored_width(d))
    cosines = stored @ stored.T / scale(stored.shape[1]) ** 2
    assert np.abs(cosines - x @ x.T).max() < (
        0.02 if d <= 1024 else 0.25
    )  # a projection to 512 keeps a dot product to about 1/sqrt(512)


def test_quantization_is_a_pure_function_and_zero_stays_zero():
    x = unit(3, 3072)
    assert np.array_equal(quantize(x), quantize(x.copy()))
    assert not quantize(np.zeros((1, 3072), np.float32)).any()
