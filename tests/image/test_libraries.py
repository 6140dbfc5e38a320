"""Every image function on arrays of several libraries: same results, same library back, inputs kept."""

import subprocess
import sys

import array_api_strict
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from arrayvision import arraymisc, image, video, visualization
from tests.image.pictures import photo, views

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
TABLE = np.arange(256)[::-1].astype(np.uint8)

ON_BYTES = {
    "adjust_brightness": lambda x: image.adjust_brightness(x, 0.5),
    "adjust_color": lambda x: image.adjust_color(x, 0.3),
    "adjust_contrast": lambda x: image.adjust_contrast(x, 1.5),
    "adjust_hue": lambda x: image.adjust_hue(x, 0.2),
    "adjust_sharpness": lambda x: image.adjust_sharpness(x, 1.5),
    "auto_contrast": image.auto_contrast,
    "bgr2gray": image.bgr2gray,
    "bgr2hls": image.bgr2hls,
    "bgr2hsv": image.bgr2hsv,
    "bgr2rgb": image.bgr2rgb,
    "bgr2ycbcr": image.bgr2ycbcr,
    "clahe": lambda x: image.clahe(x[..., 0]),
    "cutout": lambda x: image.cutout(x, 0),
    "gray2bgr": lambda x: image.gray2bgr(x[..., 0]),
    "gray2rgb": lambda x: image.gray2rgb(x[..., 0]),
    "hls2bgr": image.hls2bgr,
    "hsv2bgr": image.hsv2bgr,
    "imconvert": lambda x: image.imconvert(x, "bgr", "lab"),
    "imequalize": image.imequalize,
    "imflip": image.imflip,
    "iminvert": image.iminvert,
    "imnormalize": lambda x: image.imnormalize(x, MEAN, STD),
    "impad": lambda x: image.impad(x, padding=3),
    "impad_to_multiple": lambda x: image.impad_to_multiple(x, 32),
    "imrescale": lambda x: image.imrescale(x, 0.5),
    "imresize": lambda x: image.imresize(x, (30, 20)),
    "imresize_like": lambda x: image.imresize_like(x, photo(20, 30)),
    "imresize_to_multiple": lambda x: image.imresize_to_multiple(x, 16, scale_factor=2),
    "imrotate": lambda x: image.imrotate(x, 20),
    "imshear": lambda x: image.imshear(x, 0.2),
    "imtranslate": lambda x: image.imtranslate(x, 3),
    "posterize": lambda x: image.posterize(x, 2),
    "rgb2bgr": image.rgb2bgr,
    "rgb2gray": image.rgb2gray,
    "rgb2ycbcr": image.rgb2ycbcr,
    "solarize": image.solarize,
    "ycbcr2bgr": image.ycbcr2bgr,
    "ycbcr2rgb": image.ycbcr2rgb,
    "quantize": lambda x: arraymisc.quantize(x, 0, 255, 9, dtype=np.int32),
    "dequantize": lambda x: arraymisc.dequantize(x, 0, 255, 9, dtype=np.float32),
}
ON_FLOATS = {
    "imdenormalize": lambda x: image.imdenormalize(x, MEAN, STD),
    "imnormalize": lambda x: image.imnormalize(x, MEAN, STD),
    "bgr2hsv": lambda x: image.bgr2hsv(x),
    "imresize": lambda x: image.imresize(x, (30, 20)),
    "imrotate": lambda x: image.imrotate(x, 20),
    "flow2rgb": lambda x: visualization.flow2rgb(x[..., :2]),
}
LIBRARIES = {
    "torch": (torch.from_numpy, torch.Tensor),
    "jax": (jnp.asarray, jnp.ndarray),
    "array_api_strict": (array_api_strict.asarray, type(array_api_strict.zeros(1))),
}


def values(x):
    return np.asarray(x) if not hasattr(x, "__dlpack__") else np.from_dlpack(x)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "floats"), [(n, False) for n in ON_BYTES] + [(n, True) for n in ON_FLOATS])
def test_results_and_library(library, name, floats):
    function = (ON_FLOATS if floats else ON_BYTES)[name]
    img = photo().astype(np.float32) if floats else photo()
    make, kind = LIBRARIES[library]
    theirs = make(img.copy())
    got, wanted = function(theirs), function(img)
    assert isinstance(got, kind)
    np.testing.assert_array_equal(values(got), wanted)
    assert str(got.dtype).rsplit(".", 1)[-1] == wanted.dtype.name
    np.testing.assert_array_equal(values(theirs), img)


def test_several_results_and_arrays():
    img = torch.from_numpy(photo())
    resized, w, _ = image.imresize(img, (40, 30), return_scale=True)
    assert isinstance(resized, torch.Tensor) and w == 0.5
    patches = image.imcrop(img, torch.tensor([[0, 0, 9, 9], [2, 3, 7, 7]]))
    assert [type(p) for p in patches] == [torch.Tensor] * 2 and patches[1].shape == (5, 6, 3)
    flow = torch.ones(60, 80, 2)
    warped = video.flow_warp(img, flow, interpolate_mode="bilinear")
    np.testing.assert_array_equal(warped[:58, :78].numpy(), photo()[1:59, 1:79])
    dx, dy = video.quantize_flow(flow)
    assert dx.dtype == torch.uint8 and video.dequantize_flow(dx, dy).dtype == torch.float64
    assert torch.equal(image.lut_transform(img, torch.from_numpy(TABLE)), 255 - img)
    with pytest.raises(TypeError, match="img is a torch tensor, flow is a NumPy array"):
        video.flow_warp(img, flow.numpy())


def test_in_place():
    img = torch.from_numpy(photo().astype(np.float32))
    assert image.imnormalize_(img, MEAN, STD) is img
    np.testing.assert_allclose(img.numpy(), (photo()[..., ::-1] - MEAN) / STD, atol=3e-6)
    assert image.imflip_(img) is img
    out = torch.empty(20, 30, 3, dtype=torch.uint8)
    assert image.imresize(torch.from_numpy(photo()), (30, 20), out=out) is out
    np.testing.assert_array_equal(out.numpy(), image.imresize(photo(), (30, 20)))
    for function in (image.imflip_, lambda x: image.imnormalize_(x, MEAN, STD)):
        with pytest.raises(TypeError, match="can't be written"):
            function(jnp.zeros((4, 5, 3)))


def test_views_of_tensors():
    img = torch.from_numpy(photo().transpose(2, 0, 1).copy()).permute(1, 2, 0)
    np.testing.assert_array_equal(image.solarize(img).numpy(), image.solarize(photo()))
    np.testing.assert_array_equal(image.imequalize(img[5:, ::2]).numpy(), image.imequalize(photo()[5:, ::2]))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_halves(half):
    img = torch.from_numpy(photo().astype(np.float32)).to(half)
    for function in (lambda x: image.imresize(x, (30, 20)), lambda x: image.imnormalize(x, MEAN, STD), image.bgr2gray):
        got, wanted = function(img), function(img.float())
        assert got.dtype == half and torch.equal(got, wanted.to(half))
    if half == torch.float16:
        got = image.imresize(img.numpy(), (30, 20))
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, image.imresize(img, (30, 20)).numpy())


def test_what_is_refused():
    with pytest.raises(TypeError, match="requires grad"):
        image.imresize(torch.zeros(4, 4, 3, requires_grad=True), (2, 2))
    with pytest.raises(TypeError, match="has no values"):
        image.imresize(torch.zeros(4, 4, 3, device="meta"), (2, 2))
    with pytest.raises(TypeError, match="masked"):
        image.imresize(np.ma.zeros((4, 4, 3)), (2, 2))
    for bad in ([[1]], "x", None, 3):
        with pytest.raises(TypeError):
            image.imflip(bad)
        with pytest.raises(TypeError):
            image.bgr2gray(bad)
    with pytest.raises(TypeError):
        image.imresize()
    with pytest.raises(TypeError):
        image.imresize(photo(), (4, 4), sizes=3)


def test_keywords():
    np.testing.assert_array_equal(image.imresize(size=(9, 7), img=photo()), image.imresize(photo(), (9, 7)))
    assert torch.equal(image.iminvert(img=torch.zeros(2, 2)), torch.full((2, 2), 255.0))


def test_memory_maps_and_other_byte_orders(tmp_path):
    path = tmp_path / "img.npy"
    np.save(path, photo())
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(image.imequalize(mapped), image.imequalize(photo()))
    swapped = photo().astype(">f4")
    np.testing.assert_array_equal(
        image.imnormalize(swapped, MEAN, STD), image.imnormalize(photo().astype("<f4"), MEAN, STD)
    )
    np.testing.assert_array_equal(image.imresize(swapped, (20, 20)), image.imresize(photo().astype("<f4"), (20, 20)))


def test_dlpack_layouts():
    for layout, view in views(photo()):
        if all(s > 0 for s in view.strides) and view.flags.writeable:
            np.testing.assert_array_equal(
                image.solarize(torch.from_numpy(view)).numpy(), image.solarize(photo()), layout
            )


# ---- tensor2imgs -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [torch.from_numpy, jnp.asarray, np.asarray, array_api_strict.asarray])
def test_tensor2imgs(make):
    images = np.stack([photo(20, 30, seed) for seed in range(2)])
    normal = np.stack([image.imnormalize(x, MEAN, STD) for x in images]).transpose(0, 3, 1, 2)
    for got, wanted in zip(image.tensor2imgs(make(normal.copy()), MEAN, STD), images, strict=True):
        assert type(got) is np.ndarray and got.dtype == np.uint8
        np.testing.assert_array_equal(got, wanted)
    plain = np.random.default_rng(0).uniform(0, 255, (2, 3, 5, 5)).astype(np.float32)
    for got, wanted in zip(image.tensor2imgs(make(plain), to_rgb=False), plain, strict=True):
        np.testing.assert_array_equal(got, wanted.transpose(1, 2, 0).astype(np.uint8))
    (gray,) = image.tensor2imgs(make(plain[:1, :1].copy()), mean=(1,), std=(0.5,), to_rgb=False)
    np.testing.assert_array_equal(gray, (plain[0, 0] * np.float32(0.5) + 1).astype(np.uint8))


def test_tensor2imgs_clips():
    x = np.random.default_rng(0).normal(0, 300, (1, 3, 8, 8)).astype(np.float32)
    (got,) = image.tensor2imgs(x)
    np.testing.assert_array_equal(got, np.clip(x[0, ::-1].transpose(1, 2, 0), 0, 255).astype(np.uint8))
    for value, wanted in ((300, 255), (-1, 0), (np.inf, 255), (-np.inf, 0), (np.nan, 0), (1e30, 255)):
        for channels in (1, 3):
            x = np.full((1, channels, 2, 2), value, np.float32)
            assert (image.tensor2imgs(x, to_rgb=channels == 3)[0] == wanted).all(), (value, channels)


def test_tensor2imgs_of_requiring_grad():
    with torch.no_grad():
        assert image.tensor2imgs(torch.ones(1, 3, 2, 2, requires_grad=True))[0].sum() == 12


@pytest.mark.parametrize(
    ("shape", "kwargs"),
    [
        ((2, 3, 3), {}),
        ((2, 4, 3, 3), {}),
        ((2, 3, 5, 5), {"mean": (1,)}),
        ((2, 3, 5, 5), {"std": (1,)}),
        ((2, 1, 5, 5), {"mean": (0, 0, 0), "to_rgb": False}),
        ((2, 1, 5, 5), {"mean": (0,), "std": (1,), "to_rgb": True}),
    ],
)
def test_tensor2imgs_refuses(shape, kwargs):
    with pytest.raises(AssertionError, match="tensor2imgs: "):
        image.tensor2imgs(torch.zeros(shape), **kwargs)


def test_more_pixels_than_opencv_counts(tmp_path):
    """Arrays that take no memory, by broadcasting: an error from each function, in a process that could crash."""
    code = f"""
import numpy as np
from arrayvision import image
calls = dict(
    imwrite=lambda x: image.imwrite(x, {str(tmp_path / "a.png")!r}),
    imresize=lambda x: image.imresize(x, (4, 4)),
    imrescale=lambda x: image.imrescale(x, 1e-4),
    imrotate=lambda x: image.imrotate(x, 3),
    imshear=lambda x: image.imshear(x, 0.1),
    imtranslate=lambda x: image.imtranslate(x, 3),
    impad=lambda x: image.impad(x, padding=1),
    imcrop=lambda x: image.imcrop(x, np.array([0, 0, 3, 3])),
    imnormalize=lambda x: image.imnormalize(x, 1, 1, False),
    adjust_color=lambda x: image.adjust_color(x, 0.5),
)
names = "bgr2rgb rgb2bgr bgr2gray rgb2gray bgr2hls hls2bgr bgr2hsv hsv2bgr bgr2ycbcr imflip iminvert adjust_sharpness"
names += " adjust_brightness adjust_contrast adjust_hue imequalize auto_contrast"
calls |= {{name: getattr(image, name) for name in names.split()}}
for shape in ((1 << 17, 1 << 17), (1 << 31, 1), (1, 1 << 31)):
    color = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (*shape, 3))
    for name, call in calls.items():
        try:
            call(color)
        except ValueError as error:
            assert name in str(error) or name == "imrescale", (name, error)
            assert "pixels" in str(error) or "must be" in str(error), (name, error)
        else:
            raise AssertionError(name)
    try:
        image.gray2bgr(color[..., 0])
    except ValueError as error:
        assert "gray2bgr: img must have fewer than 2147483648 pixels" in str(error)
    else:
        raise AssertionError
    try:
        image.adjust_sharpness(np.zeros((9, 9), np.uint8), 2.0, np.broadcast_to(np.ones(1), shape))
    except ValueError as error:
        assert "adjust_sharpness: kernel must have fewer than 2147483648 pixels" in str(error)
    else:
        raise AssertionError
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and "fine" in done.stdout, done.stderr[-2000:]
