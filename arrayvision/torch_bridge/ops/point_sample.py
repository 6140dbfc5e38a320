"""Features at points given in relative coordinates, on tensors; and the conversions between kinds of coordinates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import check_tensors, result_dtype
from arrayvision.torch_bridge.ops._modules import shown
from arrayvision.torch_bridge.ops.roi_align import roi_align


def normalize(grid: Tensor) -> Tensor:
    """Coordinates within [-1, 1] as within [0, 1].

    Parameters
    ----------
    grid : Tensor
        Of any shape.

    Returns
    -------
    Tensor
        (grid + 1) / 2.
    """
    (grid,) = check_tensors("normalize", grid=grid)
    return (grid + 1.0) / 2.0


def denormalize(grid: Tensor) -> Tensor:
    """Coordinates within [0, 1] as within [-1, 1].

    Parameters
    ----------
    grid : Tensor
        Of any shape.

    Returns
    -------
    Tensor
        2 * grid - 1.
    """
    (grid,) = check_tensors("denormalize", grid=grid)
    return grid * 2.0 - 1.0


def generate_grid(num_grid: int, size: tuple[int, int], device: torch.device | str) -> Tensor:
    """The centres of a grid's cells in the unit square, row by row.

    Parameters
    ----------
    num_grid : int
        How many times.
    size : (int, int)
        Rows and columns.
    device : torch.device
        Where.

    Returns
    -------
    Tensor (num_grid, rows * columns, 2)
        (x, y), float32.

    Examples
    --------
    >>> generate_grid(1, (1, 2), "cpu")
    tensor([[[0.2500, 0.5000],
             [0.7500, 0.5000]]])
    """
    num_grid = check.integer("generate_grid", "num_grid", num_grid, 0, _roi.MOST)
    rows, columns = _roi.size("generate_grid", "size", size)
    if rows * columns > _roi.MOST:
        raise InvalidValue(f"generate_grid: size must have fewer than 2**31 cells, got {(rows, columns)}")
    if not torch.compiler.is_compiling():
        try:
            torch.empty(0, device=device)
        except (RuntimeError, TypeError, ValueError, AssertionError):
            raise InvalidValue(f"generate_grid: device must be one that torch has here, got {device!r}") from None
    y = (torch.arange(rows, device=device, dtype=torch.float32) + 0.5) / rows
    x = (torch.arange(columns, device=device, dtype=torch.float32) + 0.5) / columns
    grid = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)], -1)
    return grid.reshape(1, -1, 2).expand(num_grid, -1, -1)


def rel_roi_point_to_abs_img_point(rois: Tensor, rel_roi_points: Tensor) -> Tensor:
    """Points relative to regions as points of the image. The result carries no gradient.

    Parameters
    ----------
    rois : Tensor (N, 4) or (N, 5)
        (x1, y1, x2, y2), or with the image's index before.
    rel_roi_points : Tensor (N, P, 2)
        (x, y) within [0, 1].

    Returns
    -------
    Tensor (N, P, 2)
        (x, y) in the image's pixels.

    Raises
    ------
    ValueError
        If a shape is wrong, or lengths differ.
    """
    name = "rel_roi_point_to_abs_img_point"
    rois, rel_roi_points = check_tensors(name, rois=rois, rel_roi_points=rel_roi_points)
    if rois.dim() != 2 or rois.shape[1] not in (4, 5):
        raise InvalidValue(f"{name}: rois must have shape (N, 4) or (N, 5), got {tuple(rois.shape)}")
    check.shape(name, "rel_roi_points", rel_roi_points, "N", "P", 2)
    check.same_length(name, "rel_roi_points", rel_roi_points, "rois", rois)
    with torch.no_grad():
        corner, other = rois[:, None, -4:-2], rois[:, None, -2:]
        return rel_roi_points * (other - corner) + corner


def get_shape_from_feature_map(x: Tensor) -> Tensor:
    """A feature map's (width, height).

    Parameters
    ----------
    x : Tensor (N, C, H, W)
        The map.

    Returns
    -------
    Tensor (1, 1, 2)
        In float32, on its device.
    """
    check_tensors("get_shape_from_feature_map", x=x)
    check.shape("get_shape_from_feature_map", "x", x, "N", "C", "H", "W")
    height, width = x.shape[2:]
    return torch.tensor([width, height], dtype=torch.float32, device=x.device).view(1, 1, 2)


def abs_img_point_to_rel_img_point(
    abs_img_points: Tensor, img: tuple[int, int] | Tensor, spatial_scale: float = 1.0
) -> Tensor:
    """Points of the image as points relative to it, or to a feature map.

    Parameters
    ----------
    abs_img_points : Tensor (N, P, 2)
        (x, y) in the image's pixels.
    img : (int, int) or Tensor (N, C, H, W)
        (height, width), or the image or feature map.
    spatial_scale : float
        The features' size over the image's.

    Returns
    -------
    Tensor (N, P, 2)
        (x, y), within [0, 1] inside.

    Raises
    ------
    TypeError
        If img is neither.
    """
    name = "abs_img_point_to_rel_img_point"
    (abs_img_points,) = check_tensors(name, abs_img_points=abs_img_points)
    check.shape(name, "abs_img_points", abs_img_points, "N", "P", 2)
    spatial_scale = check.number(name, "spatial_scale", spatial_scale)
    if isinstance(img, (tuple, list)) and len(img) == 2:
        height, width = (check.number(name, "img", v) for v in img)
        size = torch.tensor([width, height], dtype=torch.float32, device=abs_img_points.device).view(1, 1, 2)
    elif isinstance(img, Tensor) and img.dim() == 4:
        check_tensors(name, abs_img_points=abs_img_points, img=img)
        size = get_shape_from_feature_map(img)
    else:
        raise InvalidKind(
            f"{name}: img must be (height, width) or a tensor of shape (N, C, H, W), got {type(img).__name__}"
        )
    return abs_img_points / size.to(abs_img_points.dtype) * spatial_scale


def rel_roi_point_to_rel_img_point(
    rois: Tensor, rel_roi_points: Tensor, img: tuple[int, int] | Tensor, spatial_scale: float = 1.0
) -> Tensor:
    """Points relative to regions as points relative to the image, or to a feature map. It carries no gradient.

    Parameters
    ----------
    rois : Tensor (N, 4) or (N, 5)
        (x1, y1, x2, y2), or with the image's index before.
    rel_roi_points : Tensor (N, P, 2)
        (x, y) within [0, 1].
    img : (int, int) or Tensor (N, C, H, W)
        (height, width), or the image or feature map.
    spatial_scale : float
        The features' size over the image's.

    Returns
    -------
    Tensor (N, P, 2)
        (x, y), within [0, 1] inside.

    Raises
    ------
    TypeError, ValueError
        As `rel_roi_point_to_abs_img_point` and `abs_img_point_to_rel_img_point`.

    Examples
    --------
    >>> rel_roi_point_to_rel_img_point(torch.tensor([[0, 2.0, 2, 4, 4]]), torch.full((1, 1, 2), 0.5), (8, 16))
    tensor([[[0.1875, 0.3750]]])
    """
    points = rel_roi_point_to_abs_img_point(rois, rel_roi_points)
    return abs_img_point_to_rel_img_point(points, img, spatial_scale)


def point_sample(input: Tensor, points: Tensor, align_corners: bool = False, **kwargs) -> Tensor:
    """Features at points, bilinearly interpolated; differentiable in both.

    Parameters
    ----------
    input : Tensor (N, C, H, W)
        Feature maps.
    points : Tensor (N, P, 2) or (N, rows, columns, 2)
        (x, y); the map is the unit square.
    align_corners : bool
        False: the unit square's corners are the border pixels' outer corners. True: they are their centres.
    **kwargs
        Passed to torch.nn.functional.grid_sample: `mode`, `padding_mode`.

    Returns
    -------
    Tensor (N, C, P) or (N, C, rows, columns)
        Outside the map, 0. In the promoted dtype, integers counting as float32.

    Raises
    ------
    ValueError
        If a shape is wrong.

    Examples
    --------
    >>> point_sample(torch.arange(4.0).reshape(1, 1, 2, 2), torch.tensor([[[0.5, 0.5], [0.25, 0.25]]]))
    tensor([[[1.5000, 0.0000]]])
    """
    input, points = check_tensors("point_sample", input=input, points=points)
    align_corners = check.flag("point_sample", "align_corners", align_corners)
    check.shape("point_sample", "input", input, "N", "C", "H", "W")
    if points.dim() not in (3, 4) or points.shape[-1] != 2:
        raise InvalidValue(
            f"point_sample: points must have shape (N, P, 2) or (N, rows, columns, 2), got {tuple(points.shape)}"
        )
    check.same_length("point_sample", "points", points, "input", input)
    flat = points.dim() == 3
    if not input.shape[2] * input.shape[3]:
        return input.new_zeros((*input.shape[:2], *points.shape[1:-1]), dtype=result_dtype(input, points))
    dtype = result_dtype(input, points)
    grid = denormalize(points.unsqueeze(2) if flat else points)
    out = F.grid_sample(input.to(dtype), grid.to(dtype), align_corners=align_corners, **kwargs)
    return out.squeeze(3) if flat else out


def bilinear_grid_sample(im: Tensor, grid: Tensor, align_corners: bool = False) -> Tensor:
    """Features at the points of a grid, bilinearly interpolated, zero outside; differentiable in both.

    `torch.nn.functional.grid_sample`, under the name by which models exported to older ONNX have it.

    Parameters
    ----------
    im : Tensor (N, C, H, W)
        Feature maps.
    grid : Tensor (N, rows, columns, 2)
        (x, y) within [-1, 1].
    align_corners : bool
        False: -1 and 1 are the border pixels' outer edges. True: they are their centres.

    Returns
    -------
    Tensor (N, C, rows, columns)
        In the promoted dtype, integers counting as float32.

    Raises
    ------
    ValueError
        If a shape is wrong, or lengths differ.

    Examples
    --------
    >>> bilinear_grid_sample(torch.arange(4.0).reshape(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [-0.5, -0.5]]]]))
    tensor([[[[1.5000, 0.0000]]]])
    """
    name = "bilinear_grid_sample"
    im, grid = check_tensors(name, im=im, grid=grid)
    align_corners = check.flag(name, "align_corners", align_corners)
    check.shape(name, "im", im, "N", "C", "H", "W")
    check.shape(name, "grid", grid, "N", "rows", "columns", 2)
    check.same_length(name, "grid", grid, "im", im)
    dtype = result_dtype(im, grid)
    if not im.shape[2] * im.shape[3]:
        return im.new_zeros((*im.shape[:2], *grid.shape[1:3]), dtype=dtype)
    return F.grid_sample(im.to(dtype), grid.to(dtype), align_corners=align_corners)


class SimpleRoIAlign(nn.Module):
    """RoIAlign with one sample a bin, at its centre; differentiable in the features.

    Parameters
    ----------
    output_size : int or (int, int)
        Bins (height, width).
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    aligned : bool
        True: pixel i's centre is at i + 0.5. False: the map's corners are the border pixels' centres (older models).

    Notes
    -----
    A. Kirillov et al., "PointRend: Image Segmentation as Rendering", 2020. Results are in the order of the regions.
    """

    def __init__(self, output_size: int | tuple[int, ...], spatial_scale: float, aligned: bool = True) -> None:
        super().__init__()
        self.output_size = _roi.size("SimpleRoIAlign", "output_size", output_size)
        self.spatial_scale = _roi.scale("SimpleRoIAlign", spatial_scale)
        self.aligned = check.flag("SimpleRoIAlign", "aligned", aligned)
        self.use_torchvision = False  # as RoIAlign has

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Features (B, C, H, W) and RoIs (K, 5) to (K, C, height, width)."""
        features, rois = check_tensors("SimpleRoIAlign", features=features, rois=rois)
        check.shape("SimpleRoIAlign", "features", features, "B", "C", "H", "W")
        check.shape("SimpleRoIAlign", "rois", rois, "K", 5)
        return _centres(features, rois, self.output_size, self.spatial_scale, self.aligned)

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale")


def _centres(features, rois, size, scale, aligned):
    """(K, C, rows, columns): RoIAlign of one sample a bin on the map in a frame of zeros, whose border thus fades to 0."""
    batch, channels, height, width = features.shape
    if not batch * height * width:
        return features.new_zeros((rois.shape[0], channels, *size))
    if rois.is_cpu and not torch.compiler.is_compiling():
        bad = ~((rois[:, 0] > -1) & (rois[:, 0] < batch))
        if bool(bad.any()):
            k = int(bad.nonzero()[0])
            index = float(rois[k, 0])
            raise InvalidValue(
                f"SimpleRoIAlign: rois[{k}] has batch index {index:g}, which must be within [0, {batch})"
            )
    across, down = (scale, scale) if aligned else (scale * (width - 1) / width, scale * (height - 1) / height)
    shift = 1.0 if aligned else 1.5  # roi_align counts from pixels' borders
    rois = rois.to(torch.promote_types(result_dtype(features, rois), torch.float32))
    image, x1, y1, x2, y2 = rois.unbind(1)
    regions = [image, x1 * across + shift, y1 * down + shift, x2 * across + shift, y2 * down + shift]
    return roi_align(F.pad(features, (1, 1, 1, 1)), torch.stack(regions, 1), size, 1.0, 1)
