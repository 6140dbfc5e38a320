"""Transformer layers: attention, feed-forward network, layers in any order of operations, patches."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.check import renamed
from arrayvision.errors import InvalidKind, require
from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks.activation import build_activation_layer
from arrayvision.torch_bridge.cnn.bricks.conv import OPERATORS, build_conv_layer, same_padding
from arrayvision.torch_bridge.cnn.bricks.drop import build_dropout
from arrayvision.torch_bridge.cnn.bricks.init import BaseModule, ModuleList, Sequential
from arrayvision.torch_bridge.cnn.bricks.norm import build_norm_layer
from arrayvision.torch_bridge.cnn.bricks.scale import LayerScale
from arrayvision.torch_bridge.cnn.bricks.wrappers import Linear


def __getattr__(name):
    if name == "MultiScaleDeformableAttention":  # it lives with its operator
        return MODELS.own(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "FFN",
    "OPERATORS",
    "AdaptivePadding",
    "BaseTransformerLayer",
    "MultiheadAttention",
    "PatchEmbed",
    "PatchMerging",
    "TransformerLayerSequence",
    "build_attention",
    "build_feedforward_network",
    "build_positional_encoding",
    "build_transformer_layer",
    "build_transformer_layer_sequence",
]


def build_positional_encoding(cfg, default_args=None):
    """A positional encoding from its config."""
    return MODELS.build(cfg, default_args=default_args)


def build_attention(cfg, default_args=None):
    """An attention module from its config."""
    return MODELS.build(cfg, default_args=default_args)


def build_feedforward_network(cfg, default_args=None):
    """A feed-forward network from its config."""
    return MODELS.build(cfg, default_args=default_args)


def build_transformer_layer(cfg, default_args=None):
    """A transformer layer from its config."""
    return MODELS.build(cfg, default_args=default_args)


def build_transformer_layer_sequence(cfg, default_args=None):
    """A sequence of transformer layers (an encoder or decoder) from its config."""
    return MODELS.build(cfg, default_args=default_args)


def _pair(value):
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)


class AdaptivePadding(nn.Module):
    """Pad an image with zeros so that a strided window covers all of it: ceil(size / stride) positions.

    Parameters
    ----------
    kernel_size, stride, dilation : int or tuple
        The window, (height, width).
    padding : {"corner", "same"}
        All at the bottom and right, or half on each side.

    Examples
    --------
    >>> import torch
    >>> AdaptivePadding(kernel_size=16, stride=16)(torch.zeros(1, 1, 15, 17)).shape
    torch.Size([1, 1, 16, 32])
    """

    def __init__(self, kernel_size=1, stride=1, dilation=1, padding="corner"):
        super().__init__()
        require(padding in ("same", "corner"), f"AdaptivePadding: padding must be 'same' or 'corner', got {padding!r}")
        self.padding = padding
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.dilation = _pair(dilation)

    def get_pad_shape(self, input_shape) -> tuple[int, int]:
        """Rows and columns to add to an image of (height, width)."""
        height, width = input_shape
        return (
            same_padding(height, self.kernel_size[0], self.stride[0], self.dilation[0]),
            same_padding(width, self.kernel_size[1], self.stride[1], self.dilation[1]),
        )

    def forward(self, x: Tensor) -> Tensor:
        h, w = self.get_pad_shape(x.shape[-2:])
        if not (h or w):
            return x
        if self.padding == "corner":
            return F.pad(x, (0, w, 0, h))
        return F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))


def _positions(size, kernel, stride, padding, dilation):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


class PatchEmbed(BaseModule):
    """An image cut into patches, each projected to `embed_dims` channels by a convolution.

    Parameters
    ----------
    in_channels, embed_dims : int
    conv_type : str
        The convolution's name.
    kernel_size, stride, dilation : int or tuple
        Of the patches; a stride of None is the kernel size.
    padding : int, tuple, "corner" or "same"
        A name pads adaptively, by `AdaptivePadding`.
    bias : bool
    norm_cfg : dict, optional
        Norm of the patches' features; none by default.
    input_size : int or tuple, optional
        (height, width) of the images, for `init_out_size`.
    init_cfg : dict, optional
    """

    def __init__(
        self,
        in_channels=3,
        embed_dims=768,
        conv_type="Conv2d",
        kernel_size=16,
        stride=16,
        padding="corner",
        dilation=1,
        bias=True,
        norm_cfg=None,
        input_size=None,
        init_cfg=None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.embed_dims = embed_dims
        kernel_size = _pair(kernel_size)
        stride = kernel_size if stride is None else _pair(stride)
        dilation = _pair(dilation)
        self.adaptive_padding = None
        if isinstance(padding, str):
            self.adaptive_padding = AdaptivePadding(kernel_size, stride, dilation, padding)
            padding = 0
        padding = _pair(padding)
        self.projection = build_conv_layer(
            {"type": conv_type},
            in_channels=in_channels,
            out_channels=embed_dims,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias=bias,
        )
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1] if norm_cfg is not None else None
        self.init_input_size = self.init_out_size = None
        if input_size:
            self.init_input_size = size = _pair(input_size)
            if self.adaptive_padding is not None:
                size = tuple(n + p for n, p in zip(size, self.adaptive_padding.get_pad_shape(size), strict=True))
            self.init_out_size = _positions(size, kernel_size, stride, padding, dilation)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, H, W) to (B, h * w, embed_dims) and (h, w)."""
        if self.adaptive_padding is not None:
            x = self.adaptive_padding(x)
        x = self.projection(x)
        out_size = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2)
        return (x if self.norm is None else self.norm(x)), out_size


class PatchMerging(BaseModule):
    """Neighbouring patches joined into one: unfold, norm, and a linear layer.

    The order of the unfolded channels is torch.nn.Unfold's. Z. Liu et al., "Swin Transformer", 2021.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or tuple
        Of the window; a stride of None is the kernel size.
    padding : int, tuple, "corner" or "same"
    bias : bool
        Of the linear layer.
    norm_cfg : dict, optional
    init_cfg : dict, optional
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size=2,
        stride=None,
        padding="corner",
        dilation=1,
        bias=False,
        norm_cfg={"type": "LN"},  # noqa: B006  (never changed)
        init_cfg=None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.in_channels = in_channels
        self.out_channels = out_channels
        kernel_size = _pair(kernel_size)
        stride = _pair(stride) if stride else kernel_size
        dilation = _pair(dilation)
        self.adaptive_padding = None
        if isinstance(padding, str):
            self.adaptive_padding = AdaptivePadding(kernel_size, stride, dilation, padding)
            padding = 0
        self.sampler = nn.Unfold(kernel_size, dilation=dilation, padding=_pair(padding), stride=stride)
        channels = math.prod(kernel_size) * in_channels
        self.norm = build_norm_layer(norm_cfg, channels)[1] if norm_cfg is not None else None
        self.reduction = nn.Linear(channels, out_channels, bias=bias)

    def forward(self, x: Tensor, input_size) -> tuple[Tensor, tuple[int, ...]]:
        """(B, H * W, in_channels) of an (H, W) map to (B, h * w, out_channels) and (h, w)."""
        require(
            isinstance(input_size, Sequence) and not isinstance(input_size, str),
            f"PatchMerging: input_size must be (H, W), got {input_size!r}",
            InvalidKind,
        )
        batch, length, channels = x.shape
        h, w = input_size
        require(length == h * w, f"PatchMerging: x must have H * W = {h * w} positions, got {length}")
        x = x.view(batch, h, w, channels).permute(0, 3, 1, 2)
        if self.adaptive_padding is not None:
            x = self.adaptive_padding(x)
        s = self.sampler
        out_size = _positions(x.shape[-2:], s.kernel_size, s.stride, s.padding, s.dilation)
        x = self.sampler(x).transpose(1, 2)
        if self.norm is not None:
            x = self.norm(x)
        return self.reduction(x), out_size


@MODELS.register_module()
class MultiheadAttention(BaseModule):
    """torch.nn.MultiheadAttention with position encodings, dropout and the identity added.

    Parameters
    ----------
    embed_dims, num_heads : int
    attn_drop, proj_drop : float
        Dropout of the attention weights, and of the result.
    dropout_layer : dict, optional
        One more dropout of the result, before the identity is added.
    init_cfg : dict, optional
    batch_first : bool
        Whether tensors are (B, length, channels); else (length, B, channels).
    **kwargs
        More arguments for torch.nn.MultiheadAttention; `dropout` is an old name for both dropouts.
    """

    def __init__(
        self,
        embed_dims,
        num_heads,
        attn_drop=0.0,
        proj_drop=0.0,
        dropout_layer={"type": "Dropout", "drop_prob": 0.0},  # noqa: B006  (never changed)
        init_cfg=None,
        batch_first=False,
        **kwargs,
    ):
        super().__init__(init_cfg)
        if "dropout" in kwargs:
            warnings.warn(
                "The argument `dropout` of MultiheadAttention is deprecated: set attn_drop, proj_drop and dropout_layer",
                DeprecationWarning,
                stacklevel=2,
            )
            attn_drop = kwargs.pop("dropout")
            if dropout_layer:
                dropout_layer = {**dropout_layer, "drop_prob": attn_drop}
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.batch_first = batch_first
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, attn_drop, **kwargs)
        self.proj_drop = nn.Dropout(proj_drop)
        self.dropout_layer = build_dropout(dropout_layer) if dropout_layer else nn.Identity()

    @renamed(residual="identity")
    def forward(
        self,
        query,
        key=None,
        value=None,
        identity=None,
        query_pos=None,
        key_pos=None,
        attn_mask=None,
        key_padding_mask=None,
        **kwargs,
    ) -> Tensor:
        """Attend from `query` to `key`, and add the identity.

        Parameters
        ----------
        query : Tensor (Q, B, C), or (B, Q, C) if batch_first
        key, value : Tensor (K, B, C), optional
            `query` and `key` by default.
        identity : Tensor, optional
            What the result is added to; `query` by default.
        query_pos, key_pos : Tensor, optional
            Position encodings, added to query and key; `query_pos` serves for the key too, if its shape fits.
        attn_mask : Tensor (Q, K) or (B * num_heads, Q, K), optional
        key_padding_mask : Tensor (B, K), optional

        Returns
        -------
        Tensor of query's shape
        """
        key = query if key is None else key
        value = key if value is None else value
        identity = query if identity is None else identity
        if key_pos is None and query_pos is not None:
            if query_pos.shape == key.shape:
                key_pos = query_pos
            else:
                warnings.warn(f"position encoding of key is missing in {type(self).__name__}.", stacklevel=2)
        if query_pos is not None:
            query = query + query_pos
        if key_pos is not None:
            key = key + key_pos
        if self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        out = self.attn(query, key, value, attn_mask=attn_mask, key_padding_mask=key_padding_mask)[0]
        if self.batch_first:
            out = out.transpose(0, 1)
        return identity + self.dropout_layer(self.proj_drop(out))


@MODELS.register_module()
class FFN(BaseModule):
    """Linear layers with activations, and the identity added.

    Parameters
    ----------
    embed_dims, feedforward_channels : int
        Channels outside and inside.
    num_fcs : int
        How many linear layers, at least 2.
    act_cfg : dict
        The activation between them.
    ffn_drop : float
        Dropout after each.
    dropout_layer : dict, optional
        Dropout of the result, before the identity is added.
    add_identity : bool
    init_cfg : dict, optional
    layer_scale_init_value : float
        Start of a `LayerScale` of the result; 0 for none.
    """

    @renamed(dropout="ffn_drop", add_residual="add_identity")
    def __init__(
        self,
        embed_dims=256,
        feedforward_channels=1024,
        num_fcs=2,
        act_cfg={"type": "ReLU", "inplace": True},  # noqa: B006  (never changed)
        ffn_drop=0.0,
        dropout_layer=None,
        add_identity=True,
        init_cfg=None,
        layer_scale_init_value=0.0,
    ):
        super().__init__(init_cfg)
        require(num_fcs >= 2, f"FFN: num_fcs must be at least 2, got {num_fcs}")
        self.embed_dims = embed_dims
        self.feedforward_channels = feedforward_channels
        self.num_fcs = num_fcs
        layers: list[nn.Module] = []
        channels = embed_dims
        for _ in range(num_fcs - 1):
            layers.append(
                Sequential(
                    Linear(channels, feedforward_channels), build_activation_layer(act_cfg), nn.Dropout(ffn_drop)
                )
            )
            channels = feedforward_channels
        self.layers = Sequential(*layers, Linear(feedforward_channels, embed_dims), nn.Dropout(ffn_drop))
        self.dropout_layer = build_dropout(dropout_layer) if dropout_layer else nn.Identity()
        self.add_identity = add_identity
        self.gamma2: nn.Module = (
            LayerScale(embed_dims, scale=layer_scale_init_value) if layer_scale_init_value > 0 else nn.Identity()
        )

    @renamed(residual="identity")
    def forward(self, x, identity=None) -> Tensor:
        """(..., embed_dims) to the same shape; `identity` (x by default) is added if the module is to."""
        out = self.dropout_layer(self.gamma2(self.layers(x)))
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out


@MODELS.register_module()
class BaseTransformerLayer(BaseModule):
    """Attentions, feed-forward networks and norms in the order given.

    Parameters
    ----------
    attn_cfgs : dict or list of dict
        Config of every attention, in order; one dict serves for all.
    ffn_cfgs : dict or list of dict
        The same for feed-forward networks; `embed_dims` is taken from the attention if it is left out.
    operation_order : tuple of {"self_attn", "cross_attn", "norm", "ffn"}
        A "norm" in front makes it pre-norm: identities are then added from before the norm.
    norm_cfg : dict
    init_cfg : dict, optional
    batch_first : bool
        Whether tensors are (B, length, channels); else (length, B, channels).
    **kwargs
        Old names: feedforward_channels, ffn_dropout, ffn_num_fcs.
    """

    def __init__(
        self,
        attn_cfgs=None,
        ffn_cfgs={  # noqa: B006  (never changed)
            "type": "FFN",
            "embed_dims": 256,
            "feedforward_channels": 1024,
            "num_fcs": 2,
            "ffn_drop": 0.0,
            "act_cfg": {"type": "ReLU", "inplace": True},
        },
        operation_order=None,
        norm_cfg={"type": "LN"},  # noqa: B006  (never changed)
        init_cfg=None,
        batch_first=False,
        **kwargs,
    ):
        renames = {"feedforward_channels": "feedforward_channels", "ffn_dropout": "ffn_drop", "ffn_num_fcs": "num_fcs"}
        for old, new in renames.items():
            if old in kwargs:
                warnings.warn(
                    f"The argument `{old}` of BaseTransformerLayer is deprecated: set `{new}` in `ffn_cfgs`",
                    DeprecationWarning,
                    stacklevel=2,
                )
                if isinstance(ffn_cfgs, dict):
                    ffn_cfgs = {**ffn_cfgs, new: kwargs[old]}
                else:
                    ffn_cfgs = [{**cfg, new: kwargs[old]} for cfg in ffn_cfgs]
        super().__init__(init_cfg)
        name = type(self).__name__
        known = {"self_attn", "norm", "ffn", "cross_attn"}
        require(
            operation_order is not None and len(operation_order) > 0 and set(operation_order) <= known,
            f"{name}: operation_order must be of {', '.join(sorted(known))}, got {operation_order!r}",
        )
        attentions = [operation for operation in operation_order if operation.endswith("_attn")]
        num_ffns = operation_order.count("ffn")
        attn_cfgs = self._each(name, "attn_cfgs", attn_cfgs, len(attentions))
        ffn_cfgs = self._each(name, "ffn_cfgs", ffn_cfgs, num_ffns)
        require(attentions, f"{name}: operation_order must have an attention, got {operation_order!r}")

        self.batch_first = batch_first
        self.num_attn = len(attentions)
        self.operation_order = operation_order
        self.norm_cfg = norm_cfg
        self.pre_norm = operation_order[0] == "norm"
        self.attentions = ModuleList()
        for operation, cfg in zip(attentions, attn_cfgs, strict=True):
            require(
                cfg.setdefault("batch_first", batch_first) == batch_first,
                f"{name}: batch_first must be the same in attn_cfgs, got {cfg['batch_first']} and {batch_first}",
            )
            attention = build_attention(cfg)
            attention.operation_name = operation
            self.attentions.append(attention)
        self.embed_dims = self.attentions[0].embed_dims
        self.ffns = ModuleList()
        for cfg in ffn_cfgs:
            require(
                cfg.setdefault("embed_dims", self.embed_dims) == self.embed_dims,
                f"{name}: embed_dims of ffn_cfgs must be the attention's, {self.embed_dims}, got {cfg['embed_dims']}",
            )
            self.ffns.append(build_feedforward_network(cfg, {"type": "FFN"}))
        self.norms = ModuleList(
            [build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(operation_order.count("norm"))]
        )

    @staticmethod
    def _each(name, argument, cfgs, count):
        if not isinstance(cfgs, dict):
            require(
                cfgs is not None and len(cfgs) == count,
                f"{name}: {argument} must be a dict or {count} of them, as operation_order has, got {cfgs!r}",
            )
        return [copy.deepcopy(cfg) for cfg in ([cfgs] * count if isinstance(cfgs, dict) else cfgs)]

    def forward(
        self,
        query,
        key=None,
        value=None,
        query_pos=None,
        key_pos=None,
        attn_masks=None,
        query_key_padding_mask=None,
        key_padding_mask=None,
        **kwargs,
    ) -> Tensor:
        """Apply the operations.

        Parameters
        ----------
        query : Tensor (Q, B, C), or (B, Q, C) if batch_first
        key, value : Tensor (K, B, C), optional
            For cross attention.
        query_pos, key_pos : Tensor, optional
            Position encodings.
        attn_masks : Tensor or list of Tensor, optional
            One for each attention, or one for all.
        query_key_padding_mask : Tensor (B, Q), optional
            For self attention.
        key_padding_mask : Tensor (B, K), optional
            For cross attention.
        **kwargs
            Handed to every attention.

        Returns
        -------
        Tensor of query's shape
        """
        if attn_masks is None:
            attn_masks = [None] * self.num_attn
        elif isinstance(attn_masks, Tensor):
            warnings.warn(f"Use same attn_mask in all attentions in {type(self).__name__}", stacklevel=2)
            attn_masks = [attn_masks] * self.num_attn
        require(
            len(attn_masks) == self.num_attn,
            f"{type(self).__name__}: attn_masks must have one for each of {self.num_attn} attentions, got {len(attn_masks)}",
        )
        attentions, ffns, norms, masks = iter(self.attentions), iter(self.ffns), iter(self.norms), iter(attn_masks)
        identity = query
        for operation in self.operation_order:
            kept = identity if self.pre_norm else None
            if operation == "norm":
                query = next(norms)(query)
                continue
            if operation == "ffn":
                query = next(ffns)(query, kept)
                continue
            if operation == "self_attn":
                keys, values, keys_pos, padding = query, query, query_pos, query_key_padding_mask
            else:
                keys, values, keys_pos, padding = key, value, key_pos, key_padding_mask
            query = next(attentions)(
                query,
                keys,
                values,
                kept,
                query_pos=query_pos,
                key_pos=keys_pos,
                attn_mask=next(masks),
                key_padding_mask=padding,
                **kwargs,
            )
            identity = query
        return query


@MODELS.register_module()
class TransformerLayerSequence(BaseModule):
    """Transformer layers one after another: an encoder or a decoder.

    Parameters
    ----------
    transformerlayers : dict or list of dict
        Config of every layer; one dict serves for all.
    num_layers : int
    init_cfg : dict, optional
    """

    def __init__(self, transformerlayers=None, num_layers=None, init_cfg=None):
        super().__init__(init_cfg)
        if isinstance(transformerlayers, dict):
            transformerlayers = [copy.deepcopy(transformerlayers) for _ in range(num_layers)]
        require(
            isinstance(transformerlayers, list) and len(transformerlayers) == num_layers,
            f"{type(self).__name__}: transformerlayers must be a dict or a list of num_layers = {num_layers} of them",
        )
        self.num_layers = num_layers
        self.layers = ModuleList([build_transformer_layer(cfg) for cfg in transformerlayers])
        self.embed_dims = self.layers[0].embed_dims
        self.pre_norm = self.layers[0].pre_norm

    def forward(
        self,
        query,
        key,
        value,
        query_pos=None,
        key_pos=None,
        attn_masks=None,
        query_key_padding_mask=None,
        key_padding_mask=None,
        **kwargs,
    ) -> Tensor:
        """As `BaseTransformerLayer.forward`, layer after layer."""
        for layer in self.layers:
            query = layer(
                query,
                key,
                value,
                query_pos=query_pos,
                key_pos=key_pos,
                attn_masks=attn_masks,
                query_key_padding_mask=query_key_padding_mask,
                key_padding_mask=key_padding_mask,
                **kwargs,
            )
        return query
