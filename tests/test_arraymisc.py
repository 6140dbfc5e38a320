import numpy as np
import pytest

from arrayvision.arraymisc import dequantize, quantize


def test_quantize():
    arr = np.random.default_rng(0).normal(size=(30, 40))
    got = quantize(arr, -1, 1, 20)
    wanted = np.minimum(np.floor(10 * (1 + np.clip(arr, -1, 1))), 19)
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == np.int64 and quantize(arr, -1, 1, 20, dtype=np.uint8).dtype == np.uint8
    assert quantize(np.array([np.nan, np.inf, -np.inf]), 0, 1, 4).tolist() == [0, 3, 0]
    assert quantize(np.zeros((0, 3)), 0, 1, 4).shape == (0, 3)


def test_dequantize():
    levels = np.random.default_rng(0).integers(20, size=(10, 10))
    got = dequantize(levels, -1, 1, 20)
    np.testing.assert_array_equal(got, (levels + 0.5) / 10 - 1)
    assert got.dtype == np.float64 and dequantize(levels, -1, 1, 20, dtype=np.float32).dtype == np.float32


def test_both():
    arr = np.random.default_rng(0).normal(size=(100, 100))
    back = dequantize(quantize(arr, -1, 1, 1000), -1, 1, 1000)
    assert np.abs(back - np.clip(arr, -1, 1)).max() <= 1e-3 * (1 + 1e-9)
    small = np.clip(arr / 1000, -0.01, 0.01)
    assert (dequantize(quantize(small, -1, 1, 99), -1, 1, 99) == 0).all()


@pytest.mark.parametrize("function", [quantize, dequantize])
def test_refuses(function):
    arr = np.zeros(3, int)
    for args in ((-1, 1, 0), (-1, 1, 1), (-1, 1, 10.0), (2, 1, 20), (1, 1, 20), (np.nan, 1, 20)):
        with pytest.raises(ValueError, match=f"{function.__name__}: "):
            function(arr, *args)
    with pytest.raises(TypeError):
        function([1, 2], 0, 1, 4)
