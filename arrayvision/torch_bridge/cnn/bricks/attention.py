"""Blocks that look at the whole feature map: global context, non-local, generalized attention."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.errors import InvalidKind, InvalidValue, require
from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks.conv_module import ConvModule
from arrayvision.torch_bridge.cnn.bricks.init import constant_init, kaiming_init, normal_init


def last_zero_init(m: nn.Module) -> None:
    """Set a layer's weight and bias, or those of the last in a sequence, to zero."""
    constant_init(m[-1] if isinstance(m, nn.Sequential) else m, 0)


@MODELS.register_module()
class ContextBlock(nn.Module):
    """Global context block. Y. Cao et al., "GCNet: Non-local Networks Meet Squeeze-Excitation Networks", 2019.

    Parameters
    ----------
    in_channels : int
    ratio : float
        The bottleneck has in_channels * ratio channels.
    pooling_type : {"att", "avg"}
        How the map is pooled: weighted by a learned softmax mask, or evenly.
    fusion_types : tuple of {"channel_add", "channel_mul"}
        How the pooled context goes back: added, or as a sigmoid factor (first, if both).
    """

    _abbr_ = "context_block"

    def __init__(
        self, in_channels: int, ratio: float, pooling_type: str = "att", fusion_types: tuple = ("channel_add",)
    ):
        super().__init__()
        require(
            pooling_type in ("avg", "att"), f"ContextBlock: pooling_type must be 'avg' or 'att', got {pooling_type!r}"
        )
        require(
            isinstance(fusion_types, (list, tuple)),
            f"ContextBlock: fusion_types must be a list or tuple, got {type(fusion_types).__name__}",
            InvalidKind,
        )
        require(
            len(fusion_types) > 0 and set(fusion_types) <= {"channel_add", "channel_mul"},
            f"ContextBlock: fusion_types must be of 'channel_add' and 'channel_mul', got {fusion_types!r}",
        )
        self.in_channels = in_channels
        self.ratio = ratio
        self.planes = int(in_channels * ratio)
        self.pooling_type = pooling_type
        self.fusion_types = fusion_types
        if pooling_type == "att":
            self.conv_mask = nn.Conv2d(in_channels, 1, kernel_size=1)
            self.softmax = nn.Softmax(dim=2)
        else:
            self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.channel_add_conv = self._bottleneck() if "channel_add" in fusion_types else None
        self.channel_mul_conv = self._bottleneck() if "channel_mul" in fusion_types else None
        self.reset_parameters()

    def _bottleneck(self):
        return nn.Sequential(
            nn.Conv2d(self.in_channels, self.planes, kernel_size=1),
            nn.LayerNorm([self.planes, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.planes, self.in_channels, kernel_size=1),
        )

    def reset_parameters(self) -> None:
        """Kaiming (fan in) for the mask; zero for the last layers, so that the block begins as the identity if it adds."""
        if self.pooling_type == "att":
            kaiming_init(self.conv_mask, mode="fan_in")
        for bottleneck in (self.channel_add_conv, self.channel_mul_conv):
            if bottleneck is not None:
                last_zero_init(bottleneck)

    def spatial_pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) pooled to (B, C, 1, 1)."""
        if self.pooling_type == "avg":
            return self.avg_pool(x)
        mask = self.softmax(self.conv_mask(x).flatten(2))  # (B, 1, H * W)
        return torch.matmul(x.flatten(2), mask.transpose(1, 2)).unsqueeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        context = self.spatial_pool(x)
        out = x
        if self.channel_mul_conv is not None:
            out = out * torch.sigmoid(self.channel_mul_conv(context))
        if self.channel_add_conv is not None:
            out = out + self.channel_add_conv(context)
        return out


class _NonLocalNd(nn.Module):
    """Each position's response is a weighted sum over all positions. X. Wang et al., "Non-local Neural Networks", 2018.

    Parameters
    ----------
    in_channels : int
    reduction : int
        The inner layers have in_channels // reduction channels.
    use_scale : bool
        Divide by the square root of the inner channels in the mode "embedded_gaussian".
    conv_cfg, norm_cfg : dict, optional
        Convolution of all layers, norm of the last.
    mode : {"gaussian", "embedded_gaussian", "dot_product", "concatenation"}
        How two positions are compared.
    std : float
        Deviation of the initial weights.
    zeros_init : bool
        Start the last layer at zero: the block begins as the identity.
    """

    _pool: nn.Module  # what halves the positions looked at, if they are sub-sampled

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        use_scale: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        mode: str = "embedded_gaussian",
        sub_sample: bool = False,
        pool: nn.Module | None = None,
        **kwargs,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.reduction = reduction
        self.use_scale = use_scale
        self.inter_channels = max(in_channels // reduction, 1)
        self.mode = mode
        if mode not in ("gaussian", "embedded_gaussian", "dot_product", "concatenation"):
            raise ValueError(
                f"{type(self).__name__}: mode must be 'gaussian', 'embedded_gaussian', 'dot_product' or "
                f"'concatenation', got {mode!r}"
            )

        def project(norm_cfg=None, inward=True):
            ends = (in_channels, self.inter_channels)
            return ConvModule(*(ends if inward else ends[::-1]), 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=None)

        self.g = project()
        self.conv_out = project(norm_cfg, inward=False)
        if mode != "gaussian":
            self.theta = project()
            self.phi = project()
        if mode == "concatenation":
            self.concat_project = ConvModule(self.inter_channels * 2, 1, 1, bias=False, act_cfg={"type": "ReLU"})
        self.init_weights(**kwargs)
        self.sub_sample = sub_sample
        if sub_sample:
            self.g = nn.Sequential(self.g, pool)
            self.phi = nn.Sequential(self.phi, pool) if mode != "gaussian" else pool

    def init_weights(self, std: float = 0.01, zeros_init: bool = True) -> None:
        """Normal for the inner layers; zero (or normal) for the last one, its norm if it has one."""
        for name in ("g", "theta", "phi"):
            for part in getattr(self, name, nn.Module()).modules():
                if isinstance(part, ConvModule):
                    normal_init(part.conv, std=std)
        last = self.conv_out.conv if self.conv_out.norm is None else self.conv_out.norm
        if zeros_init:
            constant_init(last, 0)
        else:
            normal_init(last, std=std)

    def gaussian(self, theta_x: Tensor, phi_x: Tensor) -> Tensor:
        """Softmax of the dot products."""
        return torch.matmul(theta_x, phi_x).softmax(dim=-1)

    def embedded_gaussian(self, theta_x: Tensor, phi_x: Tensor) -> Tensor:
        """Softmax of the scaled dot products."""
        weight = torch.matmul(theta_x, phi_x)
        if self.use_scale:
            weight = weight / theta_x.shape[-1] ** 0.5
        return weight.softmax(dim=-1)

    def dot_product(self, theta_x: Tensor, phi_x: Tensor) -> Tensor:
        """Dot products over the number of positions."""
        weight = torch.matmul(theta_x, phi_x)
        return weight / weight.shape[-1]

    def concatenation(self, theta_x: Tensor, phi_x: Tensor) -> Tensor:
        """A learned projection of both positions' features, over the number of positions."""
        rows, columns = theta_x.size(2), phi_x.size(3)
        pairs = torch.cat([theta_x.expand(-1, -1, -1, columns), phi_x.expand(-1, -1, rows, -1)], dim=1)
        weight = self.concat_project(pairs)[:, 0]
        return weight / weight.shape[-1]

    def forward(self, x: Tensor) -> Tensor:
        g_x = self.g(x).flatten(2).transpose(1, 2)  # (B, positions looked at, inner channels)
        if self.mode == "gaussian":
            theta_x = x.flatten(2).transpose(1, 2)
            phi_x = (self.phi(x) if self.sub_sample else x).flatten(2)
        elif self.mode == "concatenation":
            theta_x = self.theta(x).flatten(2).unsqueeze(3)
            phi_x = self.phi(x).flatten(2).unsqueeze(2)
        else:
            theta_x = self.theta(x).flatten(2).transpose(1, 2)
            phi_x = self.phi(x).flatten(2)
        y = torch.matmul(getattr(self, self.mode)(theta_x, phi_x), g_x)
        y = y.transpose(1, 2).reshape(x.size(0), self.inter_channels, *x.shape[2:])
        return x + self.conv_out(y)


class NonLocal1d(_NonLocalNd):
    """Non-local block over (B, C, L).

    Parameters
    ----------
    in_channels : int
    sub_sample : bool
        Look at every other position, by max pooling.
    conv_cfg : dict
    **kwargs
        reduction, use_scale, norm_cfg, mode, std, zeros_init.
    """

    def __init__(self, in_channels: int, sub_sample: bool = False, conv_cfg: dict = {"type": "Conv1d"}, **kwargs):  # noqa: B006
        super().__init__(in_channels, conv_cfg=conv_cfg, sub_sample=sub_sample, pool=nn.MaxPool1d(2), **kwargs)


@MODELS.register_module()
class NonLocal2d(_NonLocalNd):
    """Non-local block over (B, C, H, W).

    Parameters
    ----------
    in_channels : int
    sub_sample : bool
        Look at every other row and column, by max pooling.
    conv_cfg : dict
    **kwargs
        reduction, use_scale, norm_cfg, mode, std, zeros_init.
    """

    _abbr_ = "nonlocal_block"

    def __init__(self, in_channels: int, sub_sample: bool = False, conv_cfg: dict = {"type": "Conv2d"}, **kwargs):  # noqa: B006
        super().__init__(in_channels, conv_cfg=conv_cfg, sub_sample=sub_sample, pool=nn.MaxPool2d((2, 2)), **kwargs)


class NonLocal3d(_NonLocalNd):
    """Non-local block over (B, C, T, H, W).

    Parameters
    ----------
    in_channels : int
    sub_sample : bool
        Look at every other row and column of every frame, by max pooling.
    conv_cfg : dict
    **kwargs
        reduction, use_scale, norm_cfg, mode, std, zeros_init.
    """

    def __init__(self, in_channels: int, sub_sample: bool = False, conv_cfg: dict = {"type": "Conv3d"}, **kwargs):  # noqa: B006
        super().__init__(in_channels, conv_cfg=conv_cfg, sub_sample=sub_sample, pool=nn.MaxPool3d((1, 2, 2)), **kwargs)


@MODELS.register_module()
class GeneralizedAttention(nn.Module):
    """Attention whose energy is a sum of up to four terms: query and content, query and position, content, position.

    X. Zhu et al., "An Empirical Study of Spatial Attention Mechanisms in Deep Networks", 2019.

    Parameters
    ----------
    in_channels : int
    spatial_range : int
        Look only this far up, down, left and right; -1 for everywhere. Limits the map's size to 84 (256 channels) or 42
        (512 channels), and asks for one of these channels.
    num_heads : int
    position_embedding_dim : int
        Channels of the position embedding; in_channels if negative.
    position_magnitude : int
        Factor of coordinate differences.
    kv_stride, q_stride : int
        Sub-sampling of keys and values, and of queries.
    attention_type : str
        Four digits, "1" or "0", for the four terms.
    """

    _abbr_ = "gen_attention_block"

    def __init__(
        self,
        in_channels: int,
        spatial_range: int = -1,
        num_heads: int = 9,
        position_embedding_dim: int = -1,
        position_magnitude: int = 1,
        kv_stride: int = 2,
        q_stride: int = 1,
        attention_type: str = "1111",
    ):
        super().__init__()
        require(
            len(attention_type) == 4 and set(attention_type) <= {"0", "1"},
            f"GeneralizedAttention: attention_type must be four digits 0 or 1, got {attention_type!r}",
            InvalidValue,
        )
        require(
            1 <= num_heads <= in_channels,
            f"GeneralizedAttention: num_heads must be 1 to in_channels = {in_channels}, got {num_heads}",
        )
        self.position_embedding_dim = position_embedding_dim if position_embedding_dim > 0 else in_channels
        self.position_magnitude = position_magnitude
        self.num_heads = num_heads
        self.in_channels = in_channels
        self.spatial_range = spatial_range
        self.kv_stride = kv_stride
        self.q_stride = q_stride
        self.attention_type = [digit == "1" for digit in attention_type]
        self.qk_embed_dim = in_channels // num_heads
        self.v_dim = in_channels // num_heads
        inner = self.qk_embed_dim * num_heads
        query_content, query_position, content, position = self.attention_type

        def bias():
            bound = 1.0 / math.sqrt(self.qk_embed_dim * 2)
            return nn.Parameter(bound - 2 * bound * torch.rand(inner))

        if query_content or query_position:
            self.query_conv = nn.Conv2d(in_channels, inner, 1, bias=False)
        if query_content or content:
            self.key_conv = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.value_conv = nn.Conv2d(in_channels, self.v_dim * num_heads, 1, bias=False)
        if query_position or position:
            self.appr_geom_fc_x = nn.Linear(self.position_embedding_dim // 2, inner, bias=False)
            self.appr_geom_fc_y = nn.Linear(self.position_embedding_dim // 2, inner, bias=False)
        if content:
            self.appr_bias = bias()
        if position:
            self.geom_bias = bias()
        self.proj_conv = nn.Conv2d(self.v_dim * num_heads, in_channels, 1, bias=True)
        self.gamma = nn.Parameter(torch.zeros(1))
        if spatial_range >= 0:
            self.local_constraint_map = nn.Parameter(self._far(), requires_grad=False)
        self.q_downsample = nn.AvgPool2d(1, q_stride) if q_stride > 1 else None
        self.kv_downsample = nn.AvgPool2d(1, kv_stride) if kv_stride > 1 else None
        self.init_weights()

    def _far(self):
        """uint8 (query y, query x, key y, key x): 1 where a key is beyond the range."""
        sizes = {256: 84, 512: 42}
        require(
            self.in_channels in sizes,
            f"GeneralizedAttention: in_channels must be 256 or 512 with a spatial_range, got {self.in_channels}",
        )
        size = sizes[self.in_channels]
        keys = int((size - 1.0) / self.kv_stride + 1)
        query, key = torch.arange(size)[:, None], torch.arange(keys)[None]
        first = ((query - self.spatial_range) // self.kv_stride).clamp(min=0)
        end = ((query + self.spatial_range + 1) // self.kv_stride + 1).clamp(max=size)
        near = (key >= first) & (key < end)  # of rows, and of columns
        return (~(near[:, None, :, None] & near[None, :, None, :])).to(torch.uint8)

    def init_weights(self) -> None:
        """Kaiming, uniform, fan in, for all projections."""
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                kaiming_init(layer, mode="fan_in", nonlinearity="leaky_relu", bias=0, distribution="uniform", a=1)

    def get_position_embedding(
        self, h, w, h_kv, w_kv, q_stride, kv_stride, device, dtype, feat_dim, wave_length=1000
    ) -> tuple[Tensor, Tensor]:
        """Sines and cosines of the coordinate differences: (w, w_kv, feat_dim / 2) and (h, h_kv, feat_dim / 2)."""
        steps = torch.arange(0, feat_dim / 4, device=device, dtype=dtype)
        waves = torch.full((1,), wave_length, device=device, dtype=dtype) ** (4.0 / feat_dim * steps)

        def embed(queries, keys):
            at = torch.arange(queries, device=device, dtype=dtype)[:, None] * q_stride
            other = torch.arange(keys, device=device, dtype=dtype)[None] * kv_stride
            phase = ((at - other) * self.position_magnitude)[..., None] / waves
            return torch.cat((phase.sin(), phase.cos()), dim=2)

        return embed(w, w_kv), embed(h, h_kv)

    def forward(self, x_input: Tensor) -> Tensor:
        query_content, query_position, content, position = self.attention_type
        heads, dim = self.num_heads, self.qk_embed_dim
        x_q = x_input if self.q_downsample is None else self.q_downsample(x_input)
        x_kv = x_input if self.kv_downsample is None else self.kv_downsample(x_input)
        n, _, h, w = x_q.shape
        h_kv, w_kv = x_kv.shape[2:]

        query: Any = None
        key: Any = None
        if query_content or query_position:
            query = self.query_conv(x_q).view(n, heads, dim, h * w).transpose(2, 3)
        if query_content or content:
            key = self.key_conv(x_kv).view(n, heads, dim, h_kv * w_kv)

        # energy (B, heads, h, w, h_kv, w_kv), or broadcastable to it; of `content` alone it is the same for all queries
        energy: Tensor | float = 0.0
        if content:
            appearance = self.appr_bias.view(1, heads, 1, dim)
        if query_content:
            left = query + appearance if content else query
            energy = torch.matmul(left, key).view(n, heads, h, w, h_kv, w_kv)
        elif content:
            energy = torch.matmul(appearance, key).view(n, heads, 1, 1, h_kv, w_kv)
        if query_position or position:
            embed_x, embed_y = self.get_position_embedding(
                h,
                w,
                h_kv,
                w_kv,
                self.q_stride,
                self.kv_stride,
                x_input.device,
                x_input.dtype,
                self.position_embedding_dim,
            )
            feat_x = self.appr_geom_fc_x(embed_x).view(w, w_kv, heads, dim).permute(2, 0, 3, 1) / math.sqrt(2)
            feat_y = self.appr_geom_fc_y(embed_y).view(h, h_kv, heads, dim).permute(2, 0, 3, 1) / math.sqrt(2)
            # (heads, w, dim, w_kv) and (heads, h, dim, h_kv)
            if query_position:
                left = query + self.geom_bias.view(1, heads, 1, dim) if position else query
                left = left.view(n, heads, h, w, dim)
                energy_x = torch.matmul(left.transpose(2, 3), feat_x).transpose(2, 3).unsqueeze(4)
                energy_y = torch.matmul(left, feat_y).unsqueeze(5)
            else:
                left = self.geom_bias.view(heads, 1, 1, dim)
                energy_x = torch.matmul(left, feat_x).view(1, heads, 1, w, 1, w_kv)
                energy_y = torch.matmul(left, feat_y).view(1, heads, h, 1, h_kv, 1)
            energy = energy + (energy_x + energy_y)
        if isinstance(energy, float):  # no term at all: look everywhere alike
            energy = x_q.new_zeros(n, heads, 1, 1, h_kv, w_kv)

        if self.spatial_range >= 0:
            far = self.local_constraint_map[:h, :w, :h_kv, :w_kv].bool()
            energy = energy.expand(n, heads, h, w, h_kv, w_kv).masked_fill(far, float("-inf"))
        only_content = energy.shape[2:4] == (1, 1) and (h, w) != (1, 1)
        rows = 1 if only_content else h * w
        energy = energy.expand(n, heads, *((1, 1) if only_content else (h, w)), h_kv, w_kv)
        attention = F.softmax(energy.reshape(n, heads, rows, h_kv * w_kv), 3)
        value = self.value_conv(x_kv).view(n, heads, self.v_dim, h_kv * w_kv).transpose(2, 3)
        out = torch.matmul(attention, value).transpose(2, 3)
        out = out.reshape(n, heads * self.v_dim, *((1, 1) if only_content else (h, w)))
        out = self.proj_conv(out)
        if self.q_downsample is not None:
            out = F.interpolate(out, size=x_input.shape[2:], mode="bilinear", align_corners=False)
        return self.gamma * out + x_input
