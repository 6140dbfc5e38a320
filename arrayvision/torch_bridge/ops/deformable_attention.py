"""The layer of multi-scale deformable attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from arrayvision import check
from arrayvision.check import renamed
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.cnn.bricks.init import BaseModule, constant_init, xavier_init
from arrayvision.torch_bridge.library import check_tensors
from arrayvision.torch_bridge.ops.multi_scale_deformable_attn import multi_scale_deformable_attn


class MultiScaleDeformableAttention(BaseModule):
    """Attention of queries to a few samples of several levels' maps, which the queries choose.

    X. Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection", 2021.

    Parameters
    ----------
    embed_dims : int
        Channels of queries, and of the result.
    num_heads, num_levels, num_points : int
        Heads, which divide the channels; levels; points that a head samples of each level.
    im2col_step : int
        Accepted, and without influence.
    dropout : float
        Dropout of the result, before the identity is added.
    batch_first : bool
        Whether tensors are (B, length, channels); else (length, B, channels).
    norm_cfg : dict, optional
        Kept for configs; there is no norm here.
    init_cfg : dict, optional
    value_proj_ratio : float
        Channels of the values, as a share of `embed_dims`.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
        value_proj_ratio: float = 1.0,
    ):
        name, most = "MultiScaleDeformableAttention", 2**31 - 1
        if not isinstance(init_cfg, (dict, list, tuple, type(None))):
            raise InvalidKind(f"{name}: init_cfg must be a dict or a list of them, got {type(init_cfg).__name__}")
        super().__init__(init_cfg)
        self.embed_dims = check.integer(name, "embed_dims", embed_dims, 1, most)
        self.num_heads = check.integer(name, "num_heads", num_heads, 1, most)
        self.num_levels = check.integer(name, "num_levels", num_levels, 1, most)
        self.num_points = check.integer(name, "num_points", num_points, 1, most)
        self.im2col_step = check.integer(name, "im2col_step", im2col_step, 1)
        self.batch_first = check.flag(name, "batch_first", batch_first)
        self.norm_cfg = norm_cfg
        values = int(self.embed_dims * check.number(name, "value_proj_ratio", value_proj_ratio, 0, 2**20))
        if self.embed_dims % self.num_heads or values % self.num_heads or not values:
            raise InvalidValue(
                f"{name}: num_heads must divide embed_dims = {self.embed_dims} and its {values} values, got {num_heads}"
            )
        samples = self.num_heads * self.num_levels * self.num_points
        if self.embed_dims * max(samples * 2, values) >= 2**40:
            raise InvalidValue(
                f"{name}: the weights must fit in memory, got embed_dims = {embed_dims} and {samples} samples"
            )
        self.dropout = nn.Dropout(check.number(name, "dropout", dropout, 0, 1))
        self.sampling_offsets = nn.Linear(self.embed_dims, samples * 2)
        self.attention_weights = nn.Linear(self.embed_dims, samples)
        self.value_proj = nn.Linear(self.embed_dims, values)
        self.output_proj = nn.Linear(values, self.embed_dims)
        self.init_weights()

    def init_weights(self) -> None:
        """Let each head look in a direction of its own, point by point farther away, at all of its samples alike."""
        constant_init(self.sampling_offsets, 0)
        bias = self.sampling_offsets.bias
        angles = torch.arange(self.num_heads, dtype=torch.float32, device=bias.device) * (2 * math.pi / self.num_heads)
        ahead = torch.stack([angles.cos(), angles.sin()], -1)
        ahead = ahead / ahead.abs().max(-1, keepdim=True)[0]
        far = torch.arange(1, self.num_points + 1, device=bias.device)
        moves = ahead[:, None, None, :] * far[:, None]
        with torch.no_grad():
            bias.copy_(moves.expand(-1, self.num_levels, -1, -1).reshape(-1))
        constant_init(self.attention_weights, 0)
        xavier_init(self.value_proj, distribution="uniform")
        xavier_init(self.output_proj, distribution="uniform")
        self.is_init = True

    @renamed(residual="identity")
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        **kwargs,
    ) -> Tensor:
        """Let queries attend to the values near their reference points, and add the identity.

        Parameters
        ----------
        query : Tensor (Q, B, channels), or (B, Q, channels) if batch_first
        key : ignored
            Which samples count, and how much, follows from the queries alone.
        value : Tensor (S, B, channels), optional
            The maps' pixels, level after level; `query` by default.
        identity : Tensor, optional
            What the result is added to; `query` by default.
        query_pos : Tensor, optional
            A position encoding, added to `query`.
        key_padding_mask : Tensor (B, S), optional
            True for pixels that count as 0.
        reference_points : Tensor (B, Q, num_levels, 2 or 4)
            (x, y) as shares of a level's width and height; or boxes, (x, y, width, height), within which offsets are
            measured.
        spatial_shapes : Tensor (num_levels, 2)
            (height, width) of each level.
        level_start_index : Tensor (num_levels,), optional
            Where each level's pixels begin.

        Returns
        -------
        Tensor of query's shape
        """
        value = query if value is None else value
        identity = query if identity is None else identity
        given = dict(query=query, value=value, identity=identity, reference_points=reference_points)
        self._check(given, query_pos, key_padding_mask, spatial_shapes)
        assert reference_points is not None and spatial_shapes is not None  # or there was an error
        if query_pos is not None:
            query = query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        batch, queries, _ = query.shape
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.view(batch, value.shape[1], heads, -1)
        offsets = self.sampling_offsets(query).view(batch, queries, heads, levels, points, 2)
        weights = self.attention_weights(query).view(batch, queries, heads, levels * points).softmax(-1)
        at = reference_points[:, :, None, :, None]
        if reference_points.shape[-1] == 2:
            locations = at + offsets / spatial_shapes.flip(-1)[:, None]
        else:
            locations = at[..., :2] + offsets / points * at[..., 2:] * 0.5
        weights = weights.view(batch, queries, heads, levels, points)
        out = self.output_proj(
            multi_scale_deformable_attn(value, spatial_shapes, locations, weights, level_start_index)
        )
        return self.dropout(out if self.batch_first else out.transpose(0, 1)) + identity

    def _check(self, given, query_pos, key_padding_mask, spatial_shapes):
        name, axes = "MultiScaleDeformableAttention", (0, 1) if self.batch_first else (1, 0)
        extra = {} if query_pos is None else {"query_pos": query_pos}
        check_tensors(name, **given, **extra, **{"the weights": self.value_proj.weight})
        query, value, points = given["query"], given["value"], given["reference_points"]
        for argument in ("query", "value"):
            check.shape(name, argument, given[argument], "B", "length", self.embed_dims)
        batch, queries, keys = query.shape[axes[0]], query.shape[axes[1]], value.shape[axes[1]]
        if value.shape[axes[0]] != batch:
            raise InvalidValue(f"{name}: value must be of as many images as query, got shape {tuple(value.shape)}")
        for argument, x in {"identity": given["identity"], **extra}.items():  # which may stand for all images, say
            if not _fits(x.shape, query.shape):
                raise InvalidValue(
                    f"{name}: {argument} must have query's shape {tuple(query.shape)}, got {tuple(x.shape)}"
                )
        for argument in ("query", "value"):
            x, weight = given[argument], self.value_proj.weight
            if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
                raise InvalidKind(f"{name}: {argument} must have the weights' dtype {weight.dtype}, got {x.dtype}")
        if key_padding_mask is not None:
            if not isinstance(key_padding_mask, Tensor) or key_padding_mask.dtype is not torch.bool:
                kind = getattr(key_padding_mask, "dtype", type(key_padding_mask).__name__)
                raise InvalidKind(f"{name}: key_padding_mask must be a tensor of bools, got {kind}")
            if key_padding_mask.layout is not torch.strided or key_padding_mask.device != value.device:
                raise InvalidKind(f"{name}: key_padding_mask must be a dense tensor on {value.device}")
            check.shape(name, "key_padding_mask", key_padding_mask, batch, keys)
        if not isinstance(spatial_shapes, Tensor):
            raise InvalidKind(f"{name}: spatial_shapes must be a tensor, got {type(spatial_shapes).__name__}")
        check_tensors(name, value=value, spatial_shapes=spatial_shapes)
        check.shape(name, "spatial_shapes", spatial_shapes, self.num_levels, 2)
        wanted = batch, queries, self.num_levels
        if points.dim() != 4 or points.shape[3] not in (2, 4) or not _fits(points.shape[:3], wanted):
            raise InvalidValue(
                f"{name}: reference_points must have shape {wanted} and 2 or 4 numbers, got {tuple(points.shape)}"
            )


def _fits(shape, wanted):
    """Whether a shape is this one, or stands for it."""
    return len(shape) == len(wanted) and all(have in (1, want) for have, want in zip(shape, wanted, strict=True))
