"""What older code asks of the operators beside these: what compiles, torch's layers, samples of grids, cells that merge."""

import builtins
import re

import pytest

torch = pytest.importorskip("torch")

from arrayvision.cuda import nvrtc  # noqa: E402
from arrayvision.torch_bridge import cnn, ops  # noqa: E402


def test_what_compiles():
    assert re.fullmatch(r"LLVM \d+\.\d+\.\d+", ops.get_compiler_version())
    assert re.fullmatch(r"NVRTC \d+\.\d+", ops.get_compiling_cuda_version())


def test_what_compiles_without_nvrtc(monkeypatch):
    """Words, not an error."""
    imported = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("cuda"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    nvrtc.library.cache_clear()
    nvrtc.version.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(builtins, "__import__", missing)
            assert ops.get_compiling_cuda_version() == "not available"
    finally:
        nvrtc.library.cache_clear()
        nvrtc.version.cache_clear()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("Conv2d", (3, 4, 3)), ("ConvTranspose2d", (3, 4, 3)), ("Linear", (5, 4)), ("MaxPool2d", (2,))],
)
def test_layers_warn_and_work(name, arguments):
    with pytest.warns(DeprecationWarning, match=f"^{name} of the operators is deprecated"):
        layer = getattr(ops, name)(*arguments)
    assert isinstance(layer, getattr(torch.nn, name)) and layer(torch.ones(2, 3, 5, 5)).shape[0] == 2
    assert issubclass(type(layer), getattr(cnn.bricks.wrappers, name))
    assert getattr(ops, f"{name}_deprecated") is type(layer)
    with pytest.raises(AttributeError, match="has no attribute 'Conv5d'"):
        _ = ops.Conv5d


def test_every_operator_is_called_by_its_class():
    """Some of which begin with an underscore."""
    points = torch.tensor([[0.5, 0.5, 0.5], [0.25, 0.5, 0.5], [2.5, 0.5, 0.5]])
    found = ops._Voxelization.apply(points, (1, 1, 1), (0, 0, 0, 4, 4, 4), 2, 5)
    for a, b in zip(found, ops.voxelization(points, (1, 1, 1), (0, 0, 0, 4, 4, 4), 2, 5), strict=True):
        assert torch.equal(a, b)
    means, where = ops._DynamicScatter.apply(points, torch.zeros(3, 3, dtype=torch.int32), "mean")
    assert torch.equal(means, points.mean(0, keepdim=True)) and where.tolist() == [[0, 0, 0]]
    x, masks = torch.rand(1, 2, 3, 3), torch.rand(1, 9, 3, 3)
    assert torch.equal(ops.CARAFEFunction.apply(x, masks, 3, 1, 1), ops.carafe(x, masks, 3, 1, 1))


@pytest.mark.parametrize("align_corners", [False, True])
def test_bilinear_grid_sample(align_corners):
    """Against sums over the four neighbours of each point."""
    im, grid = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 6, 7, 2, dtype=torch.float64) * 2.6 - 1.3
    x, y = grid.unbind(-1)
    if align_corners:
        x, y = (x + 1) / 2 * 4, (y + 1) / 2 * 3
    else:
        x, y = ((x + 1) * 5 - 1) / 2, ((y + 1) * 4 - 1) / 2
    expected = torch.zeros(2, 3, 6, 7, dtype=torch.float64)
    for row in range(4):
        for column in range(5):
            weight = (1 - (x - column).abs()).clamp(min=0) * (1 - (y - row).abs()).clamp(min=0)
            expected += im[:, :, row, column, None, None] * weight[:, None]
    torch.testing.assert_close(ops.bilinear_grid_sample(im, grid, align_corners), expected, rtol=1e-12, atol=1e-12)
    assert ops.bilinear_grid_sample(im[..., :0], grid).shape == (2, 3, 6, 7)
    with pytest.raises(ValueError, match=r"^bilinear_grid_sample: grid must have shape \(N, rows, columns, 2\), got"):
        ops.bilinear_grid_sample(im, grid[..., :1])
