import numpy as np
import pytest

from arrayvision import visualization
from arrayvision.visualization import flow2rgb, make_color_wheel


def colored(flow, wheel, unknown=1e6):
    """The definition in float64."""
    flow = flow.astype(np.float64)
    known = (np.abs(flow) <= unknown).all(-1)
    u, v = np.where(known, flow[..., 0], 0), np.where(known, flow[..., 1], 0)
    length = np.hypot(u, v)
    length /= max(length.max(), 1e-300)
    at = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(wheel) - 1)
    low = np.floor(at).astype(int)
    part = (at - low)[..., None]
    color = wheel[low] * (1 - part) + wheel[(low + 1) % len(wheel)] * part
    return np.where(known[..., None], 1 - length[..., None] * (1 - color), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (130, 700)])
def test_flow2rgb(dtype, shape):
    flow = (np.random.default_rng(0).normal(0, 50, (*shape, 2))).astype(dtype)
    got = flow2rgb(flow)
    assert got.dtype == np.float32 and got.shape == (*shape, 3)
    # angles are exact to a few float32 roundings of half the wheel's 55 bins, colors change by up to 1/4 a bin
    np.testing.assert_allclose(got, colored(flow, make_color_wheel()), atol=55 * 4 * np.finfo(np.float32).eps)


def test_flow2rgb_in_all_directions():
    turn = np.linspace(-np.pi, np.pi, 721)
    for flow in (
        np.stack([np.cos(turn), np.sin(turn)], -1)[None],
        np.array([[[1.0, 0], [0, 1], [-1, 0], [0, -1], [0, 0]]]),
    ):
        flow = flow.astype(np.float32)
        got, wanted = flow2rgb(flow), colored(flow, make_color_wheel())
        np.testing.assert_allclose(got, wanted, atol=3e-5)
    assert (flow2rgb(np.zeros((2, 2, 2))) == 1).all()


def test_known_colors():
    flow = np.array([[[0, 0], [0.5, 0.5], [1, 1], [2, 1], [3, np.inf]]], np.float32)
    wanted = [[1, 1, 1], [1, 0.826074731, 0.683772236], [1, 0.652149462, 0.367544472], [1, 0.265650552, 0], [0, 0, 0]]
    np.testing.assert_allclose(flow2rgb(flow)[0], wanted, atol=1.5e-6)


def test_unknown_vectors_are_black():
    flow = np.array([[[np.nan, 0], [0, np.nan], [2e6, 0], [0, -np.inf], [1, 0]]])
    got = flow2rgb(flow)
    assert (got[0, :4] == 0).all() and got[0, 4].any()
    np.testing.assert_allclose(got[0, 4], flow2rgb(flow[:, 4:])[0, 0])
    assert (flow2rgb(flow, unknown_thr=0.5) == 0).all()
    assert flow2rgb(np.zeros((0, 4, 2))).shape == (0, 4, 3)


def test_wheels():
    wheel = make_color_wheel()
    assert wheel.shape == (55, 3) and wheel.dtype == np.float32
    np.testing.assert_allclose(
        wheel[[0, 1, 15, 16, 21, 25, 36, 49]],
        [[1, 0, 0], [1, 1 / 15, 0], [1, 1, 0], [5 / 6, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]],
        rtol=1e-6,
    )
    small = make_color_wheel([2] * 6)
    assert small.tolist()[:6] == [[1, 0, 0], [1, 0.5, 0], [1, 1, 0], [0.5, 1, 0], [0, 1, 0], [0, 1, 0.5]]
    flow = np.random.default_rng(0).normal(size=(9, 9, 2))
    np.testing.assert_allclose(flow2rgb(flow, small), colored(flow, small), atol=1e-5)
    for bad in ([1, 2], [1, 1, 1, 1, 1, 0]):
        with pytest.raises(ValueError, match="make_color_wheel: bins"):
            make_color_wheel(bad)


def test_refuses():
    with pytest.raises(AssertionError, match=r"flow must have shape \(H, W, 2\)"):
        flow2rgb(np.zeros((3, 3)))
    with pytest.raises(AssertionError, match="color_wheel must have shape"):
        flow2rgb(np.zeros((3, 3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="unknown_thr"):
        flow2rgb(np.zeros((3, 3, 2)), unknown_thr=np.nan)
    with pytest.raises(TypeError):
        visualization.flowshow(3)
