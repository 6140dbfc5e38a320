"""The emulator counts requests of warps, the sectors that they touch, atomics and barriers."""

import os

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.cuda import emulator
from arrayvision.cuda.runtime import INCLUDE

SOURCE = os.path.join(os.path.dirname(__file__), "traffic.cu")
KINDS = {"half_t": np.float16, "float": np.float32, "double": np.float64, "Four": np.float32, "Five": np.float64}
EXPRESSIONS = [*(f"copy<{T}>" for T in KINDS), "rows", "columns", "uneven", "phases", "add"]

pytestmark = pytest.mark.skipif(emulator.sanitize, reason="a sanitized build doesn't count")


@pytest.fixture(scope="module")
def module():
    with emulator.counting():
        return emulator.Module(SOURCE, EXPRESSIONS, (INCLUDE,))


def counted(module, kernel, threads, *args, blocks=1):
    with emulator.counting() as launches:
        module.launch(kernel, (blocks,), (threads,), args)
    (launch,) = launches
    assert (launch.kernel, launch.grid, launch.block) == (kernel, (blocks, 1, 1), threads)
    return launch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", (1, 2, 16))
def test_copies(module, kind, step):
    width = {"Four": 4, "Five": 5}.get(kind, 1)
    item = np.dtype(KINDS[kind]).itemsize
    parts = 5 if kind == "Five" else 1  # of 8 bytes: no instruction moves 40
    x, y = np.zeros((128 * step, width), KINDS[kind]), np.zeros((100, width), KINDS[kind])
    launch = counted(module, f"copy<{kind}>", 64, np.int32(100), np.int32(step), x, y, blocks=2)
    assert launch.loads[:2] == launch.stores[:2] == (emulator.Traffic(),) * 2
    assert launch.loads[2].requests == launch.stores[3].requests == 4 * parts
    assert launch.loads[2].accesses == launch.stores[3].accesses == 100 * parts

    def sectors(step):
        part = min(16, width * item) if parts == 1 else 8
        starts = [np.arange(t, min(t + 32, 100)) * step * width * item for t in range(0, 100, 32)]
        return sum(np.unique((s + part * k) // 32).size for s in starts for k in range(parts))

    assert launch.loads[2].sectors == sectors(step) and launch.stores[3].sectors == sectors(1)
    if kind == "float":
        assert launch.loads[2].sectors == {1: 13, 2: 25, 16: 100}[step]
        assert launch.total("loads") == launch.loads[2] and launch.stores[3].sectors_a_request == 13 / 4


def test_a_thread_a_row_takes_a_sector_a_lane(module):
    x, y = np.zeros((64, 24), np.float32), np.zeros(64, np.float32)
    by_rows = counted(module, "rows", 64, np.int32(24), x, y)
    by_columns = counted(module, "columns", 64, np.int32(24), x, y)
    assert by_rows.loads[1].requests == by_columns.loads[1].requests == 48
    assert by_rows.loads[1].sectors_a_request == 32 and by_columns.loads[1].sectors_a_request == 4
    assert by_rows.loads[1].accesses == by_columns.loads[1].accesses == 64 * 24


def test_lanes_of_different_length(module):
    many, x = np.arange(32, dtype=np.int32), np.zeros(32 * 32, np.float32)
    launch = counted(module, "uneven", 32, many, x, np.zeros(32, np.float32))
    assert launch.loads[1].requests == 31 and launch.loads[1].accesses == 31 * 32 / 2
    assert launch.loads[1].sectors == sum(len(np.unique(np.arange(k + 1, 32) // 8)) for k in range(31))


@pytest.mark.parametrize("order", emulator.ORDERS)
def test_barriers_part_requests_and_are_counted(module, order, monkeypatch):
    monkeypatch.setattr(emulator, "orders", (order,))
    launch = counted(module, "phases", 64, np.zeros(64, np.float32), np.zeros(64, np.float32))
    assert launch.barriers == 2
    assert launch.loads[0].requests == 3 + 2 and launch.loads[0].sectors == 3 + 8
    assert launch.stores[1] == emulator.Traffic(2, 8, 64)


def test_atomics(module):
    out = np.zeros(64, np.float32)
    for at, sectors in ((np.zeros(32, np.int32), 1), (np.arange(32, dtype=np.int32) * 2, 8)):
        launch = counted(module, "add", 32, at, out)
        assert launch.atomics == (emulator.Traffic(), emulator.Traffic(1, sectors, 32))
        assert launch.loads[1] == emulator.Traffic()
    assert out[0] == 33 and out[2] == 1


def test_counting_ends_and_nests(module):
    x, y = np.zeros(32, np.float32), np.zeros(32, np.float32)
    with emulator.counting() as outer:
        with emulator.counting() as inner:
            module.launch("columns", (1,), (32,), [np.int32(1), x, y])
        module.launch("columns", (1,), (32,), [np.int32(1), x, y])
    module.launch("columns", (1,), (32,), [np.int32(1), x, y])
    assert len(outer) == len(inner) == 1


def boxes(n, extent, rng):
    corner = rng.uniform(0, extent, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(extent / 40, extent / 8, (n, 2))], 1).astype(np.float32)


def calls():
    """Calls of operators, small but large enough to fill warps."""
    rng = np.random.default_rng(0)
    some, scores = boxes(600, 300, rng), rng.random(600, dtype=np.float32)
    x = rng.standard_normal((1, 32, 40, 48), dtype=np.float32)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    rois = np.concatenate([np.zeros((8, 1), np.float32), boxes(8, 100, rng)], 1)
    turned = np.concatenate([rois, rng.uniform(0, 6, (8, 1)).astype(np.float32)], 1)
    labels = rng.integers(0, 9, 300)
    logits = rng.standard_normal((300, 9), dtype=np.float32)
    points = rng.standard_normal((2, 64, 100), dtype=np.float32)
    clips = rng.standard_normal((2, 4, 8, 6, 6), dtype=np.float32)
    grad, still = rng.standard_normal((8, 32, 7, 7), dtype=np.float32), np.zeros((8, 2, 7, 7), np.float32)
    return {
        "prroi_pool_backward": lambda: ops.prroi_pool_backward(grad, x, rois, 0.25),
        "deform_roi_pool_backward": lambda: ops.deform_roi_pool_backward(grad, x, rois, still, 0.25, 2, 0.1),
        "nms": lambda: ops.nms(some, scores, 0.5),
        "roi_align": lambda: ops.roi_align(x, rois, 7, 0.25, 2),
        "roi_align, channels last": lambda: ops.roi_align(last, rois, 7, 0.25, 2),
        "roi_align_rotated": lambda: ops.roi_align_rotated(last, turned, 7, 0.25, 2),
        "riroi_align_rotated": lambda: ops.riroi_align_rotated(last, turned, 7, 0.25, 2),
        "riroi_align_rotated_backward": lambda: ops.riroi_align_rotated_backward(grad, turned, x.shape, 0.25, 2),
        "bbox_overlaps": lambda: ops.bbox_overlaps(some[:200], some[200:]),
        "sigmoid_focal_loss": lambda: ops.sigmoid_focal_loss(logits, labels, reduction="none"),
        "gather_points": lambda: ops.gather_points(points, rng.integers(0, 100, (2, 640)).astype(np.int32)),
        "upfirdn2d": lambda: ops.upfirdn2d(x, np.ones(4, np.float32), 2, padding=(2, 1, 2, 1)),
        "tin_shift": lambda: ops.tin_shift(clips, np.array([[1, -1], [0, 2]])),
    }


# The most sectors a request of kernels' loads and stores: 4 are floats side by side, 16 are loads of 16 bytes side by side,
# 32 what no two lanes share.
SECTORS = {
    ("prroi_pool_backward", "edge_gradient<float>"): (6.3, 2),
    ("deform_roi_pool_backward", "offset_gradient<float>"): (6.2, 2),
    ("nms", "rank_few<float, AxisAligned<float>, float>"): (25.6, 24.1),  # a gather, of 32 bytes
    ("nms", "find_overlaps<AxisAligned<float>, float>"): (18.3, 8),
    ("nms", "resolve_band"): (7, 6),
    ("roi_align", "pool_upright<float, regions::Align>"): (3.2, 4),
    ("roi_align, channels last", "pool_upright_last<float, 4, regions::Align>"): (4, 4.3),
    ("roi_align_rotated", "pool_samples<float, 4, regions::Rotated>"): (6.5, 4.3),
    ("riroi_align_rotated", "pool_turned_last<float, 4>"): (6.5, 4.3),
    ("riroi_align_rotated_backward", "turn_back<float>"): (4.3, 4.1),
    ("bbox_overlaps", "all_pairs<float>"): (14.5, 4),
    ("sigmoid_focal_loss", "sigmoid_each<float, uint32_t>"): (8, 15.5),
    ("gather_points", "gather_staged<float>"): (4, 4),
    ("upfirdn2d", "filter_twice<float>"): (4, 4),
    ("tin_shift", "copy_groups<float, 4, uint32_t>"): (7, 16),
}


def test_sectors_of_operators(monkeypatch):
    monkeypatch.setattr(array, "EMULATED", True)
    seen = {}
    for name, call in calls().items():
        with emulator.counting() as launches:
            call()
        assert launches
        for launch in launches:
            figures = [launch.total(kind).sectors_a_request for kind in ("loads", "stores")]
            seen[name, launch.kernel] = figures
    worse = {
        key: seen[key] for key, (loads, stores) in SECTORS.items() if seen[key][0] > loads or seen[key][1] > stores
    }
    assert not worse


def test_a_gradient_of_regions_adds_to_each_pixel_once(monkeypatch):
    """Regions of 14 x 14 pixels, that touch 15 or 16 each way, whatever their bins' samples are."""
    monkeypatch.setattr(array, "EMULATED", True)
    corner = np.random.default_rng(0).uniform(0, 100, (8, 2))
    rois = np.concatenate([np.zeros((8, 1)), corner, corner + 56], 1).astype(np.float32)
    grad = np.ones((8, 32, 14, 14), np.float32)
    with emulator.counting() as launches:
        ops.roi_align_backward(grad, rois, (1, 32, 40, 48), 0.25, 2)
    (launch,) = launches
    atomics = launch.total("atomics")
    assert launch.kernel == "spread_upright<float, regions::Align>"
    assert 15 * 15 * 8 * 32 <= atomics.accesses <= 16 * 16 * 8 * 32 and atomics.sectors_a_request < 6


@pytest.mark.parametrize("function", (ops.roi_align_rotated_backward, ops.riroi_align_rotated_backward))
def test_a_gradient_of_turned_regions_adds_to_channels_side_by_side(function, monkeypatch):
    """Each pixel of 49 bins' 4 samples once, 8 channels a sector."""
    monkeypatch.setattr(array, "EMULATED", True)
    rng = np.random.default_rng(0)
    rois = np.concatenate(
        [np.zeros((12, 1)), rng.uniform(60, 100, (12, 2)), np.full((12, 2), 50), rng.uniform(0, 6, (12, 1))], 1
    )
    grad = np.ones((12, 32, 7, 7), np.float32)
    with emulator.counting() as launches:
        function(grad, rois.astype(np.float32), (1, 32, 40, 48), 0.25, 2)
    by_name = {launch.kernel: launch for launch in launches}
    atomics = by_name["spread_samples<float, 4, regions::Rotated>"].total("atomics")
    assert atomics.accesses <= 12 * 32 * 49 * 4 * 4 and atomics.sectors == atomics.accesses / 8


def test_a_gradient_of_samples_adds_to_channels_side_by_side(monkeypatch):
    """A request of deformable convolution's gradient is of 4 samples and 8 channels in a sector of 32 bytes each; a sample's
    channels are read 16 bytes at a time."""
    monkeypatch.setattr(array, "EMULATED", True)
    rng = np.random.default_rng(0)
    shapes = (1, 64, 12, 12), (1, 18, 12, 12), (1, 9, 12, 12), (4, 64, 3, 3), (4,)
    given = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    with emulator.counting() as launches:
        ops.modulated_deform_conv2d_backward(np.ones((1, 4, 12, 12), np.float32), *given, padding=1)
    by_name = {launch.kernel: launch for launch in launches}
    atomics = by_name["spread_last<float>"].total("atomics")
    assert 3 < atomics.sectors_a_request <= 4 and atomics.accesses > 25 * atomics.requests
    for kernel in ("columns_of<float, 4>", "slopes<float, 4>"):
        loads = by_name[kernel].loads[5]  # of the map
        assert 0 < loads.accesses <= 9 * 12 * 12 * 4 * 64 // 4, kernel
