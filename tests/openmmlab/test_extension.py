"""Functions of mmcv's compiled extension, called as projects call them: they fill what is given with what our operators say."""

import inspect

import pytest

torch = pytest.importorskip("torch")

from arrayvision.older import extension  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402
from tests.openmmlab.test_install import run  # noqa: E402

FUNCTIONS = [n for n, f in vars(extension).items() if inspect.isfunction(f) and not n.startswith("_")]
TESTED = set()


def rand(*shape, seed=0, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def call(name, *args, **kwargs):
    TESTED.add(name)
    return getattr(extension, name)(*args, **kwargs)


def same(found, expected):
    expected = expected.detach()
    torch.testing.assert_close(found, expected.to(found.dtype).reshape(found.shape), rtol=1e-5, atol=1e-5)


def gradients(function, *inputs):
    """The result of a function, a gradient for it, and the inputs' gradients."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = function(*inputs)
    grad = rand(*out.shape, seed=9)
    return out.detach(), grad, torch.autograd.grad(out, inputs, grad)


def test_attention():
    shapes, starts = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])
    value, at, weight = rand(2, 16, 2, 4), rand(2, 5, 2, 2, 3, 2, seed=1), rand(2, 5, 2, 2, 3, seed=2)
    out, grad, expected = gradients(
        lambda v, a, w: ops.multi_scale_deformable_attn(v, shapes, a, w, starts), value, at, weight
    )
    parameter = torch.nn.Parameter(value)  # as an autograd function gets it
    same(call("ms_deform_attn_forward", parameter, shapes, starts, at, weight, im2col_step=64), out)
    found = [torch.zeros_like(x) for x in (value, at, weight)]
    call("ms_deform_attn_backward", value, shapes, starts, at, weight, grad, *found, im2col_step=64)
    for a, b in zip(found, expected, strict=True):
        assert b.abs().max() > 0
        same(a, b)


def test_deformable_convolutions():
    x, offset, mask = rand(2, 4, 6, 7), rand(2, 2 * 6, 5, 8, seed=1), rand(2, 6, 5, 8, seed=2)
    weight, bias, none = rand(6, 2, 2, 3, seed=3), rand(6, seed=4), torch.empty(0)
    how = (1, 1), (0, 1), (1, 1), 2, 1
    words = dict(
        kW=3, kH=2, dW=1, dH=1, padW=1, padH=0, dilationW=1, dilationH=1, group=2, deformable_group=1, im2col_step=2
    )
    offset, mask = offset[..., :5, :7], mask[..., :5, :7]
    out, grad, expected = gradients(lambda *a: ops.deform_conv2d(*a, *how), x, offset, weight)
    found = torch.empty_like(out)
    call("deform_conv_forward", x, weight, offset, found, none, none, **words)
    same(found, out)
    gx, go, gw = (torch.zeros_like(a) for a in (x, offset, weight))
    call("deform_conv_backward_input", x, offset, grad, gx, go, weight, none, **words)
    call("deform_conv_backward_parameters", x, offset, grad, gw, none, none, scale=0.5, **words)
    for a, b in zip((gx, go, 2 * gw), expected, strict=True):
        same(a, b)
    words = dict(
        kernel_h=2, kernel_w=3, stride_h=1, stride_w=1, pad_h=0, pad_w=1, dilation_h=1, dilation_w=1, group=2,
        deformable_group=1,
    )  # fmt: skip
    for b in (bias, None):
        given = [x, offset, mask, weight] + ([] if b is None else [b])
        out, grad, expected = gradients(
            lambda *a: ops.modulated_deform_conv2d(*a[:4], a[4] if len(a) > 4 else None, *how), *given
        )
        with_bias, bias_or_none = b is not None, none if b is None else b
        call(
            "modulated_deform_conv_forward", x, weight, bias_or_none, none, offset, mask, found, none, **words,
            with_bias=with_bias,
        )  # fmt: skip
        same(found, out)
        gx, gw, gb, go, gm = (torch.zeros_like(a) for a in (x, weight, bias, offset, mask))
        call(
            "modulated_deform_conv_backward", x, weight, bias_or_none, none, offset, mask, none, gx, gw, gb, go, gm, grad,
            **words, with_bias=with_bias,
        )  # fmt: skip
        for a, e in zip((gx, go, gm, gw, gb), expected, strict=False):
            same(a, e)


@pytest.mark.parametrize("reduce_type", ["max", "mean", "sum"])
def test_voxels(reduce_type):
    points, size, ends = rand(60, 4, high=4.0), torch.tensor([1.0, 1, 2]), torch.tensor([0.0, 0, 0, 3, 4, 4])
    expected = ops.voxelization(points, size.tolist(), ends.tolist(), 3, 10)
    voxels, coors, many = torch.zeros(10, 3, 4), torch.zeros(10, 3, dtype=torch.int), torch.zeros(10, dtype=torch.int)
    number = torch.zeros((), dtype=torch.long)
    call(
        "hard_voxelize_forward", points, size, ends, voxels, coors, many, number, max_points=3, max_voxels=10, NDim=3,
        deterministic=True,
    )  # fmt: skip
    assert number == len(expected[0]) == 10
    for a, b in zip((voxels, coors, many), expected, strict=True):
        same(a, b)
    few = points[:1]
    call("hard_voxelize_forward", few, size, ends, voxels, coors, many, number, 3, 10)
    assert number == 1 and torch.equal(voxels[0, 0], few[0]) and many[0] == 1
    where = torch.zeros(60, 3, dtype=torch.int)
    call("dynamic_voxelize_forward", points, size, ends, where, NDim=3)
    same(where, ops.voxelization(points, size.tolist(), ends.tolist(), -1, -1))
    assert (where < 0).any()
    out, grad, (expected,) = gradients(lambda p: ops.dynamic_scatter(p, where, reduce_type)[0], points)
    feats, rows, owner, counts = call("dynamic_point_to_voxel_forward", points, where, reduce_type)
    same(feats, out)
    inside = owner >= 0
    assert torch.equal(rows[owner[inside].long()], where[inside]) and torch.equal(inside, (where >= 0).all(1))
    assert torch.equal(counts, torch.bincount(owner[inside].long()).to(counts.dtype))
    found = torch.zeros_like(points)
    call("dynamic_point_to_voxel_backward", found, grad, points, feats, owner, counts, reduce_type)
    same(found, expected)


def test_boxes():
    corner, scores = rand(12, 2, high=5.0), rand(12, seed=1)
    boxes = torch.cat([corner, corner + rand(12, 2, seed=2, low=1.0, high=4.0)], 1)
    kept = call("nms", boxes, scores, iou_threshold=0.4, offset=0)
    assert torch.equal(kept, ops.nms(boxes, scores, 0.4)[1]) and 0 < len(kept) < 12
    for number, method in enumerate(("naive", "linear", "gaussian")):
        dets = torch.zeros(12, 5)
        kept = call("softnms", boxes, scores, dets, 0.3, 0.5, 0.05, number, 0)
        expected, inds = ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method)
        assert torch.equal(kept, inds) and torch.equal(dets[: len(kept)], expected)
    ious = torch.zeros(12, 5)
    call("bbox_overlaps", boxes, boxes[:5], ious, mode=1, aligned=False, offset=0)
    same(ious, ops.bbox_overlaps(boxes, boxes[:5], "iof"))
    turned = torch.cat([corner, rand(12, 2, seed=2, low=1.0, high=4.0), rand(12, 1, seed=3)], 1)
    corners = torch.cat([corner, corner + rand(12, 2, seed=4), corner + 2, corner - rand(12, 2, seed=5)], 1)
    labels, order = torch.arange(12) % 2, scores.argsort(descending=True)
    for name, shapes in (("rotated", turned), ("quadri", corners)):
        ious, overlaps = torch.zeros(12 * 5), getattr(ops, f"box_iou_{name}")
        call(f"box_iou_{name}", shapes, shapes[:5], ious, mode_flag=0, aligned=False)
        same(ious, overlaps(shapes, shapes[:5]).flatten())
        call(f"box_iou_{name}", shapes[:5], shapes[5:10], ious[:5], mode_flag=1, aligned=True)
        same(ious[:5], overlaps(shapes[:5], shapes[5:10], "iof", True))
        for own in (None, labels):
            dets = shapes if own is None else torch.cat([shapes, own[:, None]], 1)
            more = (labels,) if name == "rotated" else ()
            kept = call(f"nms_{name}", dets, scores, order, dets[order], *more, 0.1, int(own is not None))
            assert torch.equal(kept, getattr(ops, f"nms_{name}")(shapes, scores, 0.1, own)[1])


def test_boxes_in_space():
    boxes = torch.cat([rand(20, 3, high=5.0), rand(20, 3, seed=1, low=1.0, high=3.0), rand(20, 1, seed=2)], 1)
    overlap = torch.zeros(20, 4)
    call("iou3d_boxes_overlap_bev_forward", boxes, boxes[:4], overlap)
    same(overlap, ops.boxes_overlap_bev(boxes, boxes[:4]))
    for kind in ("nms3d", "nms3d_normal"):
        keep, number = torch.zeros(20, dtype=torch.long), torch.zeros((), dtype=torch.long)
        call(f"iou3d_{kind}_forward", boxes, keep, number, nms_overlap_thresh=0.2)
        expected = getattr(ops, kind)(boxes, -torch.arange(20.0), 0.2)
        assert 0 < number < 20 and torch.equal(keep[:number], expected)
    points = rand(1, 50, 3, seed=3, high=5.0)
    part, every = torch.zeros(1, 50, dtype=torch.int), torch.zeros(1, 50, 20, dtype=torch.int)
    call("points_in_boxes_part_forward", boxes[None], points, part)
    call("points_in_boxes_all_forward", boxes[None], points, every)
    same(part, ops.points_in_boxes_part(points, boxes[None]))
    same(every, ops.points_in_boxes_all(points, boxes[None]))
    one = torch.zeros(20, 50, dtype=torch.int)
    call("points_in_boxes_cpu_forward", boxes, points[0], one)
    same(one, ops.points_in_boxes_cpu(points, boxes[None])[0].t())
    square = torch.tensor([[1.0, 1, 4, 1, 4, 4, 1, 4]])
    inside = torch.zeros(50, 1)
    call("points_in_polygons_forward", points[0, :, :2].contiguous(), square, inside)
    same(inside, ((points[0, :, :2] > 1) & (points[0, :, :2] < 4)).all(1, keepdim=True))
    sets, least = rand(3, 18, seed=4), torch.zeros(3, 8)
    call("min_area_polygons", sets, least)
    same(least, ops.min_area_polygons(sets))


def test_points():
    xyz, centres = rand(2, 30, 3), rand(2, 6, 3, seed=1)
    index = torch.zeros(2, 6, 4, dtype=torch.int)
    call("ball_query_forward", centres, xyz, index, b=2, n=30, m=6, min_radius=0.0, max_radius=0.4, nsample=4)
    same(index, ops.ball_query(0.0, 0.4, 4, xyz, centres))
    squares = torch.zeros(2, 6, 4)
    call("knn_forward", xyz, centres, index, squares, b=2, n=30, m=6, nsample=4)
    known = torch.cdist(centres, xyz).pow(2).topk(4, largest=False)
    assert torch.equal(index.long(), known.indices)
    same(squares, known.values)
    chosen = torch.zeros(2, 6, dtype=torch.int)
    call("furthest_point_sampling_forward", xyz, torch.full((2, 30), 1e10), chosen, b=2, n=30, m=6)
    same(chosen, ops.furthest_point_sample(xyz, 6))
    distances = torch.cdist(xyz, xyz)
    call("furthest_point_sampling_with_dist_forward", distances, torch.full((2, 30), 1e10), chosen, b=2, n=30, m=6)
    same(chosen, ops.furthest_point_sample_with_dist(distances, 6))
    feats = rand(2, 5, 30, seed=2)
    near = [torch.zeros(2, 6, 3), torch.zeros(2, 6, 3, dtype=torch.int)]
    call("three_nn_forward", centres, xyz, *near, b=2, n=6, m=30)
    same(near[0].sqrt(), ops.three_nn(centres, xyz)[0])
    assert torch.equal(near[1], ops.three_nn(centres, xyz)[1])
    weight = rand(2, 6, 3, seed=3)
    for name, function, inner, sizes in (
        ("gather_points", ops.gather_points, (chosen,), dict(b=2, c=5, n=30, npoints=6)),
        ("group_points", ops.grouping_operation, (index,), dict(b=2, c=5, n=30, npoints=6, nsample=4)),
        ("three_interpolate", ops.three_interpolate, (near[1], weight), dict(b=2, c=5, m=30, n=6)),
    ):
        out, grad, (expected,) = gradients(lambda f, g=function, i=inner: g(f, *i), feats)
        found, back = torch.zeros_like(out), torch.zeros_like(feats)
        call(f"{name}_forward", feats, *inner, found, **sizes)
        same(found, out)
        call(f"{name}_backward", grad, *inner, back, **sizes)
        same(back, expected)


def test_regions():
    x = rand(2, 3, 8, 9)
    rois = torch.tensor([[0, 1.0, 1, 6, 7], [1, 0, 2, 8, 5]])
    words = dict(aligned_height=2, aligned_width=3, spatial_scale=0.9, sampling_ratio=2, aligned=True)
    for number, mode in enumerate(("max", "avg")):
        out, grad, (expected,) = gradients(lambda x, m=mode: ops.roi_align(x, rois, (2, 3), 0.9, 2, m), x)
        found, back, y, at = (torch.zeros_like(a) for a in (out, x, out, out))
        call("roi_align_forward", x, rois, found, y, at, pool_mode=number, **words)
        same(found, out)
        call("roi_align_backward", grad, rois, y, at, back, pool_mode=number, **words)
        same(back, expected)
    turned = torch.tensor([[0, 4.0, 4, 5, 6, 0.3], [1, 4, 4, 6, 3, -1]])
    out, grad, (expected,) = gradients(lambda x: ops.roi_align_rotated(x, turned, (2, 3), 0.9, 2, True, True), x)
    words = dict(pooled_height=2, pooled_width=3, spatial_scale=0.9, sampling_ratio=2, aligned=True, clockwise=True)
    found, back = torch.zeros_like(out), torch.zeros_like(x)
    call("roi_align_rotated_forward", x, turned, found, **words)
    same(found, out)
    call("roi_align_rotated_backward", grad, turned, back, **words)
    same(back, expected)


@pytest.mark.parametrize("weight", [torch.empty(0), rand(4, seed=5)])
def test_focal_loss(weight):
    x, target = rand(6, 4, low=-3.0, high=3.0), torch.tensor([0, 3, 4, 1, 2, 0])
    given = weight if len(weight) else None
    logits = x.clone().requires_grad_()
    out = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, given, "none")
    (expected,) = torch.autograd.grad(out.sum(), logits)
    found, back = torch.zeros_like(x), torch.zeros_like(x)
    call("sigmoid_focal_loss_forward", x, target, weight, found, gamma=2.0, alpha=0.25)
    same(found, out)
    call("sigmoid_focal_loss_backward", x, target, weight, back, gamma=2.0, alpha=0.25)
    same(back, expected)


def test_every_function_was_called():
    if len(TESTED) > 20:  # this file was run as a whole
        assert sorted(FUNCTIONS) == sorted(TESTED)
    assert len(FUNCTIONS) > 40


def test_projects_load_them():
    """By the loader, from the modules of operators, and as a module."""
    run(
        """
        import torch
        from mmcv.utils import ext_loader
        names = ["hard_voxelize_forward", "nms", "ms_deform_attn_forward", "tin_shift_forward"]
        extension = ext_loader.load_ext("_ext", names)
        from arrayvision.older import extension as ours
        assert extension.nms is ours.nms and not hasattr(extension, "roi_align_forward")
        import mmcv._ext
        from mmcv import _ext
        from mmcv.ops.nms import ext_module
        assert _ext.nms is ext_module.nms is ours.nms
        boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]])
        assert extension.nms(boxes, torch.tensor([0.5, 0.9]), iou_threshold=0.5, offset=0).tolist() == [1]
        for missing in (extension.tin_shift_forward, _ext.tin_shift_forward, ext_module.Tensor, _ext.ops):
            try:
                missing(1, 2)
            except ImportError as error:
                assert "is not in this version of arrayvision: it is of mmcv's compiled extension" in str(error)
            else:
                raise AssertionError
        """
    )
