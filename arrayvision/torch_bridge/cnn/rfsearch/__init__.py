"""Search for dilations: RF-Next, efficient receptive field search for convolutional networks."""

from arrayvision.torch_bridge.cnn.rfsearch.operator import BaseConvRFSearchOp, Conv2dRFSearchOp
from arrayvision.torch_bridge.cnn.rfsearch.search import RFSearchHook

__all__ = ["BaseConvRFSearchOp", "Conv2dRFSearchOp", "RFSearchHook"]
