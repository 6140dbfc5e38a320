"""Calls of `carafe` and `carafe_naive`."""

import functools

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed, TorchGradient


def plain(features, masks, kernel_size, group_size, scale_factor):
    (n, channels, height, width), r = features.shape, kernel_size // 2
    out = np.zeros((n, channels, *masks.shape[2:]))
    for y, x, i, j in np.ndindex(*masks.shape[2:], kernel_size, kernel_size):
        v, u = y // scale_factor + i - r, x // scale_factor + j - r
        if 0 <= v < height and 0 <= u < width:
            for c in range(channels):
                g = c * group_size // channels
                out[:, c, y, x] += masks[:, (g * kernel_size + i) * kernel_size + j, y, x] * features[:, c, v, u]
    return out


def _backward(grad, features, masks, **how):
    return (
        ops.carafe_features_backward(grad, masks, features.shape, **how),
        ops.carafe_masks_backward(grad, features, masks.shape, **how),
    )


_RNG = np.random.default_rng(0)


def _inputs(n, c, h, w, k, groups, s, dtype=np.float64):
    features = _RNG.standard_normal((n, c, h, w)).astype(dtype)
    masks = _RNG.uniform(0, 2 / k**2, (n, groups * k**2, h * s, w * s)).astype(dtype)
    return dict(features=features, masks=masks), dict(kernel_size=k, group_size=groups, scale_factor=s)


def _case(name, function, *sizes):
    inputs, how = _inputs(*sizes)
    shapes = dict(features="N C H W", masks=f"N {inputs['masks'].shape[1]} h w")
    return Case(
        f"{function}, {name}", function, inputs, shapes, plain, how,
        wrt=("features", "masks"), backward=_backward, never_empty="HWhw",
    )  # fmt: skip


CASES = (
    _case("groups", "carafe", 2, 4, 3, 2, 3, 2, 2),
    _case("window larger than the map", "carafe", 1, 7, 2, 3, 7, 1, 3),
    _case("in place", "carafe_naive", 1, 2, 4, 3, 3, 1, 1),
)


# ---- timing --------------------------------------------------------------------------------------------------------
def _unfolded(torch, features, masks, kernel_size, group_size, scale_factor):
    (n, c, h, w), taps = features.shape, kernel_size**2
    windows = torch.nn.functional.unfold(features, kernel_size, padding=kernel_size // 2).view(n, c * taps, h, w)
    windows = torch.nn.functional.interpolate(windows, scale_factor=scale_factor, mode="nearest")
    windows = windows.view(n, group_size, c // group_size, taps, h * scale_factor, w * scale_factor)
    weights = masks.view(n, group_size, taps, h * scale_factor, w * scale_factor)
    return torch.einsum("ngckhw,ngkhw->ngchw", windows, weights).flatten(1, 2)


def _gradient(which, shape, how):
    """Of the unfolded form; it doesn't depend on what it is for, which is any numbers."""
    found = TorchGradient(functools.partial(_unfolded, **how), which)
    return lambda torch, grad, **given: found(torch, grad, **given, **{which: torch.empty(shape)})


def timed():
    for sizes in ((1, 16, 8, 8, 5, 1, 2), (1, 256, 50, 76, 5, 1, 2)):
        inputs, how = _inputs(*sizes, np.float32)
        text, large = f"{'x'.join(map(str, sizes[:4]))}, k5 s2", sizes[1] == 256
        peers = {"torch unfold, einsum": ("torch", functools.partial(_unfolded, **how))}
        yield Timed(f"carafe, {text}", "carafe", inputs, how, peers, 40 if large else 1)
        grad = _RNG.standard_normal((*sizes[:2], *inputs["masks"].shape[2:]), np.float32) / np.float32(sizes[1])
        for which, other in (("features", "masks"), ("masks", "features")):
            shape = inputs[which].shape
            yield Timed(
                f"carafe's gradient for {which}, {text}",
                f"carafe_{which}_backward",
                dict(grad=grad, **{other: inputs[other]}),
                {f"{which}_shape": shape, **how},
                {"torch unfold, einsum": ("torch", _gradient(which, shape, how))},
                10 if large else 1,
            )
