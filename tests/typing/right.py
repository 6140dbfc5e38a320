"""Right uses: both checkers accept them, and see these types."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from typing_extensions import assert_type

import arrayvision
from arrayvision import image, ops, visualization
from arrayvision.torch_bridge import ops as bridge

boxes, scores = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)
dets, inds = ops.nms(boxes, scores, 0.5)
dets.astype(np.float64).reshape(-1)
assert_type(inds.tolist(), Any)

tensors = torch.zeros(3, 4), torch.zeros(3)
assert_type(ops.nms(*tensors, 0.5), tuple[torch.Tensor, torch.Tensor])
assert_type(ops.bbox_overlaps(tensors[0], tensors[0]), torch.Tensor)
assert_type(
    ops.batched_nms(*tensors, None, dict(iou_threshold=0.5), class_agnostic=True), tuple[torch.Tensor, torch.Tensor]
)
assert_type(ops.nms_match(torch.zeros(3, 5), 0.5), list[torch.Tensor])
assert_type(ops.roi_align(torch.zeros(1, 2, 8, 8), torch.zeros(1, 5), (7, 7)), torch.Tensor)
assert_type(bridge.nms(*tensors, iou_threshold=0.5), tuple[torch.Tensor, torch.Tensor])
assert_type(ops.bbox_overlaps(jnp.zeros((3, 4)), jnp.zeros((3, 4))), jax.Array)


def unknown(anything: Any) -> None:
    """CuPy has no types."""
    ops.nms(anything, anything, 0.5)[0].get()


photo = image.imread("photo.jpg")
small = image.imresize(photo, (3, 4))
small.reshape(-1)
scaled, width, height = image.imresize(torch.zeros(4, 4, 3), (3, 4), return_scale=True)
assert_type(scaled, torch.Tensor)
assert_type(width, float)
assert_type(image.imrescale(torch.zeros(4, 4, 3), 0.5), torch.Tensor)
assert_type(image.imrescale(torch.zeros(4, 4, 3), 0.5, return_scale=True), tuple[torch.Tensor, float])
assert_type(image.rescale_size((4, 4), 2.0), tuple[int, int])
assert_type(image.imflip(torch.zeros(4, 4, 3)), torch.Tensor)
image.imread(Path("photo.jpg"), "grayscale").astype(np.float32)
visualization.imshow_bboxes(photo, boxes, show=False)
visualization.imshow_bev(boxes, None, (0, 0, 4, 4), show=False)
assert_type(arrayvision.get_num_threads(), int)
