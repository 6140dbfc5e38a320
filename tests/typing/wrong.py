"""Wrong uses: both checkers refuse each line that says so."""

import numpy as np
import torch

import arrayvision
from arrayvision import image, ops

boxes, scores = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)
ops.nms("boxes", scores, 0.5)  # wrong
ops.nms(boxes, 3, 0.5)  # wrong
ops.nms(boxes, torch.zeros(3), 0.5)  # wrong
ops.nms(boxes, scores, "half")  # wrong
ops.nms(boxes, scores, threshold=0.5)  # wrong
ops.bbox_overlaps(boxes, torch.zeros(3, 4))  # wrong
ops.roi_align(torch.zeros(1, 2, 8, 8), torch.zeros(1, 5), "7")  # wrong
ops.nms(boxes, scores, 0.5).shape  # wrong
ops.bbox_overlaps(torch.zeros(3, 4), torch.zeros(3, 4)).astype("f4")  # wrong
image.imresize([[1, 2], [3, 4]], (3, 4))  # wrong
image.imrescale(np.zeros((4, 4, 3)), 0.5, return_scale=True).shape  # wrong
image.rescale_size((4, 4), 2.0, True)[0].real  # wrong
image.imread(3)  # wrong
arrayvision.opps  # wrong
arrayvision.set_num_threads("2")  # wrong
