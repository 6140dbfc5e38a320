"""Modules that group and sample points, against plain indexing; and by the names that older code has."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from arrayvision import ops as array_ops  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402

RNG = np.random.default_rng(0)
POINTS = torch.from_numpy(RNG.random((2, 60, 3)))
CENTERS = POINTS[:, :7] + 0.01
FEATURES = torch.from_numpy(RNG.standard_normal((2, 4, 60)))


def grouped(index, normalized=1.0):
    """(B, 3 + C, M, S) by plain indexing."""
    batch = torch.arange(2)[:, None, None]
    places = (POINTS[batch, index.long()] - CENTERS[:, :, None]) / normalized
    return torch.cat([places, FEATURES.transpose(1, 2)[batch, index.long()]], -1).permute(0, 3, 1, 2)


# ---- QueryAndGroup, GroupAll -----------------------------------------------------------------------------------------
def test_groups_within_balls():
    index = ops.ball_query(0.1, 0.4, 5, POINTS, CENTERS)
    torch.testing.assert_close(ops.QueryAndGroup(0.4, 5, 0.1)(POINTS, CENTERS, FEATURES), grouped(index))
    found = ops.QueryAndGroup(0.4, 5, 0.1, normalize_xyz=True)(POINTS, CENTERS, FEATURES)
    torch.testing.assert_close(found, grouped(index, 0.4))
    torch.testing.assert_close(ops.QueryAndGroup(0.4, 5, 0.1)(POINTS, CENTERS), grouped(index)[:, :3])
    alone = ops.QueryAndGroup(0.4, 5, 0.1, use_xyz=False)(POINTS, CENTERS, FEATURES)
    torch.testing.assert_close(alone, grouped(index)[:, 3:])


def test_groups_of_the_nearest():
    found, places, index = ops.QueryAndGroup(None, 6, return_grouped_xyz=True, return_grouped_idx=True)(
        POINTS, CENTERS, FEATURES
    )
    assert torch.equal(index, ops.knn(6, POINTS, CENTERS).transpose(1, 2))
    torch.testing.assert_close(found, grouped(index))
    torch.testing.assert_close(places, found[:, :3] + CENTERS.transpose(1, 2)[..., None])


def test_groups_that_are_filled_at_random():
    torch.manual_seed(0)
    module = ops.QueryAndGroup(0.3, 16, uniform_sample=True, return_unique_cnt=True, return_grouped_idx=True)
    _, count, index = module(POINTS, CENTERS, FEATURES)
    first = ops.ball_query(0, 0.3, 16, POINTS, CENTERS)
    assert count.dtype is torch.float32 and count.shape == (2, 7)
    filled = 0
    for b, m in np.ndindex(2, 7):
        inside = first[b, m].unique()
        assert count[b, m] == len(inside)
        assert torch.equal(index[b, m, : len(inside)], inside)
        rest = index[b, m, len(inside) :]
        assert torch.isin(rest, inside).all()
        filled += len(rest.unique()) > 1
    assert filled > 3


def test_gradients_reach_points_centres_and_features():
    given = [x.clone().requires_grad_() for x in (POINTS[:, :9], CENTERS[:, :3], FEATURES[..., :9])]
    module = ops.QueryAndGroup(0.5, 3, normalize_xyz=True)
    assert torch.autograd.gradcheck(module, given)
    assert torch.autograd.gradcheck(lambda *x: ops.QueryAndGroup(None, 3)(*x), given)


def test_all_points_as_a_group():
    both = torch.cat([POINTS.transpose(1, 2), FEATURES], 1).unsqueeze(2)
    assert torch.equal(ops.GroupAll()(POINTS, None, FEATURES), both)
    assert torch.equal(ops.GroupAll(False)(POINTS, None, FEATURES), both[:, 3:])
    assert torch.equal(ops.GroupAll()(POINTS, None), both[:, :3])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            dict(max_radius=0.1, min_radius=0.2, sample_num=1),
            "max_radius must be greater than min_radius, 0.2, got 0.1",
        ),
        (dict(max_radius=None, sample_num=2, normalize_xyz=True), "max_radius must be a number where normalize_xyz"),
        (dict(max_radius=1, sample_num=2, return_unique_cnt=True), "return_unique_cnt must go with uniform_sample"),
        (dict(max_radius=1, sample_num=0), "sample_num must be at least 1, got 0"),
    ],
)
def test_wrong_groups(given, said):
    with pytest.raises(ValueError, match=f"^QueryAndGroup: {said}"):
        ops.QueryAndGroup(**given)


def test_groups_of_nothing():
    for radius in (1.0, None):
        with pytest.raises(
            ValueError, match=r"^QueryAndGroup: points_xyz must have points for a group, got shape \(2, 0, 3\)"
        ):
            ops.QueryAndGroup(radius, 2)(POINTS[:, :0], CENTERS)


def test_groups_of_more_points_than_there_are():
    """As PAConv's last layers ask for: the first point takes the places that are left."""
    _, index = ops.QueryAndGroup(None, 7, return_grouped_idx=True)(POINTS[:, :4], CENTERS)
    assert torch.equal(index[..., :4].long().sort().values, torch.arange(4).expand(*index.shape[:2], 4))
    assert not index[..., 4:].any()
    with pytest.raises(TypeError, match=r"^QueryAndGroup: features must be a tensor where use_xyz is False, got None"):
        ops.QueryAndGroup(1.0, 2, use_xyz=False)(POINTS, CENTERS)


# ---- samplers --------------------------------------------------------------------------------------------------------
def by_features(begin, end, count):
    both = torch.cat([POINTS, FEATURES.transpose(1, 2)], 2)[:, begin:end]
    squares = ((both[:, :, None] - both[:, None]) ** 2).sum(-1)
    return ops.furthest_point_sample_with_dist(squares, count) + begin


def test_samplers():
    by_place = ops.furthest_point_sample(POINTS, 6)
    assert torch.equal(ops.PointsSampler([6])(POINTS, None), by_place)
    assert torch.equal(ops.PointsSampler([6], ["F-FPS"])(POINTS, FEATURES), by_features(0, 60, 6))
    both = ops.PointsSampler([6], ["FS"], [-1])(POINTS, FEATURES)
    assert torch.equal(both, torch.cat([by_features(0, 60, 6), by_place], 1)) and both.dtype is torch.int32
    parts = ops.PointsSampler([3, 4], ["F-FPS", "D-FPS"], [25, -1])(POINTS, FEATURES)
    rest = ops.furthest_point_sample(POINTS[:, 25:].contiguous(), 4) + 25
    assert torch.equal(parts, torch.cat([by_features(0, 25, 3), rest], 1))
    assert torch.equal(
        ops.PointsSampler([6], ["FS"])(POINTS.half(), FEATURES.half())[:, 6:],
        ops.furthest_point_sample(POINTS.half(), 6),
    )
    assert list(ops.PointsSampler([2, 3], ["FS", "D-FPS"], [5, -1]).state_dict()) == []


def test_classes_of_samplers():
    names = {"D-FPS": ops.DFPSSampler, "F-FPS": ops.FFPSSampler, "FS": ops.FSSampler}
    assert {name: ops.get_sampler_cls(name) for name in names} == names
    with pytest.raises(ValueError, match=r"^get_sampler_cls: sampler_type must be 'D-FPS', 'F-FPS' or 'FS', got 'FPS'"):
        ops.get_sampler_cls("FPS")
    with pytest.raises(TypeError, match=r"^FFPSSampler: features must be a tensor, got None"):
        ops.FFPSSampler()(POINTS, None, 2)
    with pytest.raises(TypeError, match=r"^PointsSampler: features must be a tensor for F-FPS and FS, got None"):
        ops.PointsSampler([2, 2], ["D-FPS", "FS"], [9, -1])(POINTS, None)


def test_a_size_below_0_of_a_tensor_without_values():
    with pytest.raises(ValueError, match=r"^furthest_point_sample: sizes must be at least 0, got num_points -2"):
        ops.furthest_point_sample(POINTS.to("meta"), -2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([1, 2], ["D-FPS"]), "fps_mod_list must be as long as num_point, 2, got 1"),
        (([1], ["D-FPS"], [-1, 3]), "fps_sample_range_list must be as long as num_point, 1, got 2"),
        (([1], ["X"]), "fps_mod_list must be 'D-FPS', 'F-FPS' or 'FS', got 'X'"),
        (([-1],), "num_point must be at least 0, got -1"),
    ],
)
def test_wrong_samplers(given, said):
    with pytest.raises(ValueError, match=f"^PointsSampler: {said}"):
        ops.PointsSampler(*given)


@pytest.mark.parametrize("ranges", [[60], [99], [5, 3]])
def test_ranges_that_do_not_fit(ranges):
    module = ops.PointsSampler([1] * len(ranges), ["D-FPS"] * len(ranges), ranges)
    with pytest.raises(ValueError, match=r"^PointsSampler: fps_sample_range_list must rise and stay below"):
        module(POINTS, FEATURES)


# ---- calc_square_dist ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_squares_of_distances(offset):
    """Far from the origin too, where the plain formula of squares and products has no digit left."""
    a, b = POINTS.float() + offset, POINTS[:, :30].float() + offset
    exact = ((a.double()[:, :, None] - b.double()[:, None]) ** 2).sum(-1)
    for function in (ops.calc_square_dist, array_ops.calc_square_dist):
        torch.testing.assert_close(function(a, b, False).double(), exact, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(function(a, b).double(), exact.sqrt() / 3, rtol=1e-3, atol=1e-3)


def test_squares_of_arrays():
    a, b = POINTS.numpy(), POINTS[:, :9].numpy()
    exact = ((a[:, :, None] - b[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(array_ops.calc_square_dist(a, b, False), exact, rtol=1e-12, atol=1e-14)
    half = array_ops.calc_square_dist(a.astype(np.float16), b.astype(np.float16), False)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, exact, rtol=4e-3, atol=4e-3)
    odd = a.copy()
    odd[0, 0, 0] = np.nan
    found = array_ops.calc_square_dist(odd, b, False)
    assert np.isnan(found[0, 0]).all() and np.isfinite(found[0, 1:]).all()
    jax = pytest.importorskip("jax")
    found = array_ops.calc_square_dist(jax.numpy.asarray(a), jax.numpy.asarray(b), False)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)
    for wrong in (b[0], b[:1], b[..., :2]):
        with pytest.raises(ValueError, match=r"^calc_square_dist: point_feat_b must have shape"):
            array_ops.calc_square_dist(a, wrong)


def test_squares_can_be_differentiated():
    given = [POINTS[:, :5].clone().requires_grad_(), POINTS[:, 5:9].clone().requires_grad_()]
    for norm in (True, False):
        assert torch.autograd.gradcheck(lambda a, b, norm=norm: ops.calc_square_dist(a, b, norm), given)


# ---- import mmcv -----------------------------------------------------------------------------------------------------
NAMES = """
    three_nn ThreeNN three_interpolate ThreeInterpolate knn KNN ball_query BallQuery chamfer_distance ChamferDistanceFunction
    gather_points GatherPoints grouping_operation GroupingOperation QueryAndGroup GroupAll assign_score_withk AssignScoreWithK
    furthest_point_sample FurthestPointSampling furthest_point_sample_with_dist FurthestPointSamplingWithDist PointsSampler
    DFPSSampler FFPSSampler FSSampler calc_square_dist get_sampler_cls
""".split()  # noqa: SIM905


def test_names_of_older_code():
    """All are there, and their classes apply the function."""
    from arrayvision.openmmlab import _OPERATORS

    assert set(NAMES) <= _OPERATORS and set(NAMES) <= set(ops.__all__)
    assert torch.equal(ops.KNN.apply(2, POINTS, CENTERS, False), ops.knn(2, POINTS, CENTERS))
    assert torch.equal(
        ops.GroupingOperation.apply(FEATURES, ops.BallQuery.apply(0, 0.5, 2, POINTS, CENTERS)).sum(),
        ops.QueryAndGroup(0.5, 2, use_xyz=False)(POINTS, CENTERS, FEATURES).sum(),
    )
