"""Convolutions that try several dilations with shared weights."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.errors import require
from arrayvision.torch_bridge.cnn.bricks.init import BaseModule
from arrayvision.torch_bridge.cnn.rfsearch.utils import expand_rates, get_single_padding

logger = logging.getLogger("arrayvision")


class BaseConvRFSearchOp(BaseModule):
    """A convolution whose dilation is searched.

    Parameters
    ----------
    op_layer : nn.Module
        The convolution; its weights are shared by all dilations.
    global_config : dict
        num_branches (2 or 3), exp_rate, mmin, mmax, init_alphas.
    """

    def __init__(self, op_layer: nn.Module, global_config: dict):
        super().__init__()
        self.op_layer = op_layer
        self.global_config = global_config

    def normlize(self, weights: Tensor) -> Tensor:
        """Absolute weights that sum to one."""
        weights = weights.abs()
        return weights / weights.sum()


class Conv2dRFSearchOp(BaseConvRFSearchOp):
    """A Conv2d that sums over several dilations, each with a learned weight.

    S. Gao et al., "RF-Next: Efficient Receptive Field Search for Convolutional Neural Networks", 2022.

    Parameters
    ----------
    op_layer : nn.Conv2d
    global_config : dict
        num_branches (2 or 3), exp_rate, mmin, mmax, init_alphas.
    verbose : bool
        Log what is tried and found.
    """

    def __init__(self, op_layer: nn.Module, global_config: dict, verbose: bool = True):
        super().__init__(op_layer, global_config)
        require(global_config is not None, "Conv2dRFSearchOp: global_config must be a dict, got None")
        self.num_branches = global_config["num_branches"]
        require(self.num_branches in (2, 3), f"Conv2dRFSearchOp: num_branches must be 2 or 3, got {self.num_branches}")
        self.verbose = verbose
        self.branch_weights = nn.Parameter(torch.empty(self.num_branches))
        self.expand_rates()

    def _log(self, message, *args):
        if self.verbose:
            logger.info(message, *args)

    def expand_rates(self) -> None:
        """Try dilations around the convolution's own, with equal weights; an axis with an even kernel or 1 keeps its own."""
        own = tuple(self.op_layer.dilation)
        fixed = [size == 1 or size % 2 == 0 for size in self.op_layer.kernel_size]
        self.dilation_rates = [
            tuple(d if keep else r for d, r, keep in zip(own, rate, fixed, strict=True))
            for rate in expand_rates(own, self.global_config)
        ]
        self._log("Expand as %s", self.dilation_rates)
        nn.init.constant_(self.branch_weights, self.global_config["init_alphas"])

    def forward(self, input: Tensor) -> Tensor:
        conv = self.op_layer
        weights = self.normlize(self.branch_weights[: len(self.dilation_rates)])
        results = [
            F.conv2d(input, conv.weight, conv.bias, conv.stride, self.get_padding(rate), rate, conv.groups)
            for rate in self.dilation_rates
        ]
        if len(results) == 1:
            return results[0]
        return torch.stack([result * weight for result, weight in zip(results, weights, strict=True)]).sum(0)

    def estimate_rates(self) -> None:
        """Set the convolution's dilation to the mean of those tried, by their weights."""
        weights = self.normlize(self.branch_weights[: len(self.dilation_rates)]).tolist()
        self._log("Estimate dilation %s with weight %s.", self.dilation_rates, weights)
        least, most = self.global_config["mmin"], self.global_config["mmax"]
        self.op_layer.dilation = tuple(
            max(
                least,
                min(
                    most,
                    round(
                        sum(w * rate[axis] for w, rate in zip(weights, self.dilation_rates, strict=True)) / sum(weights)
                    ),
                ),
            )
            for axis in (0, 1)
        )
        self.op_layer.padding = self.get_padding(self.op_layer.dilation)
        self.dilation_rates = [self.op_layer.dilation]
        self._log("Estimate as %s", self.op_layer.dilation)

    def get_padding(self, dilation) -> tuple[int, int]:
        """The padding that keeps the size with this dilation."""
        conv = self.op_layer
        height, width = (
            get_single_padding(k, s, d) for k, s, d in zip(conv.kernel_size, conv.stride, dilation, strict=True)
        )
        return height, width
