"""Batch norm over the workers of a group."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.ops._modules import check_input

MODES = ("default", "N")


def _workers(group):
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def _wide(x):
    """In float32, where the dtype has 16 bits."""
    return x.float() if x.dtype in (torch.half, torch.bfloat16) else x


def _by_channel(x, values):
    return values.reshape(-1, *[1] * (x.dim() - 2))


class SyncBatchNormFunction(torch.autograd.Function):
    """`apply(input, running_mean, running_var, weight, bias, momentum, eps, group, group_size, stats_mode)`: the norm in
    training, by which older code calls it. It changes the running statistics."""

    @staticmethod
    def forward(
        ctx, input, running_mean, running_var, weight, bias, momentum, eps, group, group_size, stats_mode
    ) -> Tensor:
        x, channels = _wide(input), input.shape[1]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        count = x.numel() // channels if channels else 0
        own = x.new_zeros(2 * channels + 2)
        if count:
            variance, mean = torch.var_mean(x, axes, correction=0)
            own[:channels], own[channels:-2] = mean, variance
        own[-2:] = own.new_tensor([count, (len(x) if stats_mode == "N" else 1) if count else 0])
        each = own[None]
        if group_size > 1:
            each = own.new_empty(group_size, len(own))
            dist.all_gather(list(each.unbind()), own, group=group)
        means, variances, counts, weights = each[:, :channels], each[:, channels:-2], each[:, -2], each[:, -1:]
        shares = weights / weights.sum().clamp(min=1)
        mean = (shares * means).sum(0)
        variance = (shares * (variances + (means - mean) ** 2)).sum(0)
        total = counts.sum()
        if running_mean is not None:
            known = momentum * total.clamp(max=1)  # nothing is learned from nothing
            unbiased = variance * total / (total - 1).clamp(min=1)
            for running, found in ((running_mean, mean), (running_var, unbiased)):
                running.copy_(running + known * (found - running))
        scale = torch.rsqrt(variance + eps)
        own_share = (own[-1] / weights.sum().clamp(min=1)) / max(count, 1)
        ctx.save_for_backward(input, weight, mean, scale, own_share)
        ctx.group, ctx.group_size = group, group_size
        out = (x - _by_channel(x, mean)) * _by_channel(x, scale if weight is None else scale * weight)
        return (out if bias is None else out + _by_channel(x, bias)).to(input.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        input, weight, mean, scale, share = ctx.saved_tensors
        x, grad = _wide(input), _wide(grads[0])
        axes = [axis for axis in range(x.dim()) if axis != 1]
        normed = (x - _by_channel(x, mean)) * _by_channel(x, scale)
        sums = torch.stack([grad.sum(axes), (grad * normed).sum(axes)])
        if ctx.group_size > 1:
            dist.all_reduce(sums, group=ctx.group)
        needed, found = ctx.needs_input_grad, [None] * 10
        if needed[0]:
            along = grad - share * (_by_channel(x, sums[0]) + normed * _by_channel(x, sums[1]))
            found[0] = (along * _by_channel(x, scale if weight is None else scale * weight)).to(input.dtype)
        # Means over the group, which averaging the workers' gradients leaves as they are.
        if needed[3]:
            found[3] = sums[1] / ctx.group_size
        if needed[4]:
            found[4] = sums[0] / ctx.group_size
        return tuple(found)


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics, in training, are those of all workers of a group.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        How much running statistics follow a batch's; None for the mean over all batches.
    affine : bool
        Whether there are a weight and a bias. The weight begins uniform within [0, 1), as checkpoints' code expects.
    track_running_stats : bool
        Whether there are running statistics, by which `eval` normalises.
    group : torch.distributed.ProcessGroup, optional
        The workers; all of them if not given. Without `torch.distributed`, this one alone.
    stats_mode : {"default", "N"}
        How workers' means count: equally, or by how many samples they have. A worker without samples counts for nothing.

    Notes
    -----
    Two communications a step: means and variances forward, two sums backward. The gradients of weight and bias are the mean
    over the group, on each worker, so that averaging them over workers changes nothing. It can be differentiated once where
    there is more than one worker.

    H. Zhang et al., "Context Encoding for Semantic Segmentation", 2018.

    Examples
    --------
    >>> import torch
    >>> norm = SyncBatchNorm(2)
    >>> norm(torch.tensor([[1.0, 2], [3, 6]])).mean(0)
    tensor([0., 0.], grad_fn=<MeanBackward1>)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: Any = None,
        stats_mode: str = "default",
    ):
        check.integer("SyncBatchNorm", "num_features", num_features, 0, 2**31 - 1)
        eps = check.number("SyncBatchNorm", "eps", eps, 0)
        momentum = momentum if momentum is None else check.number("SyncBatchNorm", "momentum", momentum)
        check.choice("SyncBatchNorm", "stats_mode", stats_mode, MODES)
        if group is not None and not (dist.is_available() and isinstance(group, dist.ProcessGroup)):
            raise InvalidKind(f"SyncBatchNorm: group must be a torch.distributed group, got {type(group).__name__}")
        super().__init__(
            num_features,
            eps,
            momentum,
            check.flag("SyncBatchNorm", "affine", affine),
            check.flag("SyncBatchNorm", "track_running_stats", track_running_stats),
        )
        self.group, self.stats_mode = group, stats_mode

    @property
    def group_size(self) -> int:
        """The number of workers."""
        return _workers(self.group)

    def reset_parameters(self) -> None:
        """Begin anew: the weight uniform within [0, 1), the bias 0."""
        self.reset_running_stats()
        if self.affine:
            nn.init.uniform_(self.weight)
            nn.init.zeros_(self.bias)

    def _check_input_dim(self, input):
        check_input(
            "SyncBatchNorm", input, self.weight if self.running_mean is None else self.running_mean, narrow=True
        )
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise InvalidValue(
                f"SyncBatchNorm: input must have shape (N, {self.num_features}, ...), got {tuple(input.shape)}"
            )

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, C, ...) to maps of the same shape."""
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1 / float(self.num_batches_tracked)
        statistics = self.running_mean, self.running_var
        training = self.training or self.running_mean is None
        # torch refuses one value a channel, and an eps of 0.
        alone = self.group_size == 1 and input.numel() > self.num_features and self.eps > 0
        if alone or not training:
            own = next((p for p in (self.weight, self.running_mean) if p is not None), _wide(input))
            out = F.batch_norm(input.to(own.dtype), *statistics, self.weight, self.bias, training, factor, self.eps)
            return out.to(input.dtype)
        return SyncBatchNormFunction.apply(
            input, *statistics, self.weight, self.bias, factor, self.eps, self.group, self.group_size, self.stats_mode
        )

    def extra_repr(self) -> str:
        names = ("eps", "momentum", "affine", "track_running_stats", "group_size", "stats_mode")
        return ", ".join([str(self.num_features), *(f"{name}={getattr(self, name)}" for name in names)])
