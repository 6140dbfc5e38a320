"""The names under which older code calls operators: ``RoIAlignFunction.apply(...)`` is ``roi_align(...)``."""

from arrayvision.torch_bridge.ops.bezier_align import bezier_align
from arrayvision.torch_bridge.ops.border_align import border_align
from arrayvision.torch_bridge.ops.deform_roi_pool import deform_roi_pool
from arrayvision.torch_bridge.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from arrayvision.torch_bridge.ops.prroi_pool import prroi_pool
from arrayvision.torch_bridge.ops.roi_align import roi_align
from arrayvision.torch_bridge.ops.roi_align_rotated import riroi_align_rotated, roi_align_rotated
from arrayvision.torch_bridge.ops.roi_pool import roi_pool


def _named(name, function):
    return type(name, (), {"apply": staticmethod(function), "__doc__": f"`apply` is `{function.__name__}`."})


BezierAlignFunction = _named("BezierAlignFunction", bezier_align)
BorderAlignFunction = _named("BorderAlignFunction", border_align)
DeformRoIPoolFunction = _named("DeformRoIPoolFunction", deform_roi_pool)
PrRoIPoolFunction = _named("PrRoIPoolFunction", prroi_pool)
RiRoIAlignRotatedFunction = _named("RiRoIAlignRotatedFunction", riroi_align_rotated)
RoIAlignFunction = _named("RoIAlignFunction", roi_align)
RoIAlignRotatedFunction = _named("RoIAlignRotatedFunction", roi_align_rotated)
RoIPoolFunction = _named("RoIPoolFunction", roi_pool)
SigmoidFocalLossFunction = _named("SigmoidFocalLossFunction", sigmoid_focal_loss)
SoftmaxFocalLossFunction = _named("SoftmaxFocalLossFunction", softmax_focal_loss)
