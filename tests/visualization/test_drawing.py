import sys
import types

import numpy as np
import pytest
import torch

from arrayvision import image, visualization
from arrayvision.visualization import Color, class_color, color_val, imshow_det_bboxes
from tests.image.pictures import photo

GREEN = (0, 255, 0)


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


def test_color_val():
    val = visualization.color_val
    assert val(visualization.Color.blue) == (255, 0, 0) and val("green") == GREEN
    assert val((1, 2, 3)) == (1, 2, 3) and val(100) == (100,) * 3 and val(np.int64(7)) == (7,) * 3
    assert val(np.zeros(3, int)) == (0, 0, 0) and val(np.array([1, 2, 255], np.uint8)) == (1, 2, 255)
    assert {c.name for c in visualization.Color} == {
        "red",
        "green",
        "blue",
        "cyan",
        "yellow",
        "magenta",
        "white",
        "black",
    }
    for bad in ([255, 255, 255], 1.0, None, True, np.zeros((3, 1))):
        with pytest.raises(TypeError, match="color_val: color must be a Color"):
            val(bad)
    for bad in ((0, 0, 500), (0, 0, -1), (0, 0), 256, "pinkish", (0.5, 0, 0), np.array([0, 0, 300])):
        with pytest.raises(AssertionError, match="color_val: color must"):
            val(bad)


# ---- boxes -----------------------------------------------------------------------------------------------------------
def on_border(canvas, color=GREEN):
    return (canvas == np.array(color, canvas.dtype)).all(-1)


def test_boxes_are_drawn():
    img = np.full((50, 60, 3), 40, np.uint8)
    box = np.array([[10, 12, 30, 40]])
    got = visualization.imshow_bboxes(img, box, show=False)
    wanted = np.zeros((50, 60), bool)
    wanted[12:41, 10:31] = True
    wanted[13:40, 11:30] = False
    np.testing.assert_array_equal(on_border(got), wanted)
    assert (img == 40).all()  # drawn on a copy
    filled = visualization.imshow_bboxes(img, box, thickness=-1, show=False)
    assert on_border(filled).sum() == 29 * 21
    assert visualization.imshow_bboxes(img, box, thickness=3, show=False).sum() > got.sum()


def test_groups_colors_top_k():
    img = np.zeros((60, 60, 3), np.uint8)
    groups = [np.array([[1, 1, 5, 5], [10, 10, 20, 20]]), np.array([[30, 30, 40, 40]])]
    got = visualization.imshow_bboxes(img, groups, ["red", (1, 2, 3)], top_k=1, show=False)
    assert tuple(got[1, 1]) == (0, 0, 255) and tuple(got[30, 30]) == (1, 2, 3) and not got[10, 10].any()
    for paints in (["red"], ["red"] * 3):
        with pytest.raises(AssertionError, match="colors must have one for each of 2"):
            visualization.imshow_bboxes(img, groups, paints, show=False)


def test_rotated_boxes():
    img = np.zeros((80, 80, 3), np.uint8)
    straight = visualization.imshow_bboxes(img, np.array([[40, 30, 20, 10, 0.0]]), show=False)
    np.testing.assert_array_equal(straight, visualization.imshow_bboxes(img, np.array([[30, 25, 50, 35]]), show=False))
    quarter = visualization.imshow_bboxes(img, np.array([[40, 30, 20, 10, np.pi / 2, 0.9]]), show=False)
    ys, xs = np.nonzero(on_border(quarter))
    assert (np.ptp(xs), np.ptp(ys)) == (10, 20)
    tilted = visualization.imshow_bboxes(img, np.array([[40, 40, 40, 4, np.pi / 6]]), thickness=-1, show=False)
    ys, xs = np.nonzero(on_border(tilted))
    slope = np.polyfit(xs, ys, 1)[0]
    assert slope == pytest.approx(np.tan(np.pi / 6), abs=0.05)  # clockwise, y down
    with_score = visualization.imshow_bboxes(img, np.array([[30, 25, 50, 35, 0.9]]), rotated=False, show=False)
    np.testing.assert_array_equal(with_score, straight)


@pytest.mark.parametrize(
    "box", [[-50, -50, -10, -10], [500, 500, 600, 600], [-(2**40), 0, 2**40, 5], [30, 30, 10, 10], [7, 7, 7, 7]]
)
def test_boxes_outside_and_degenerate(box):
    img = photo()
    got = visualization.imshow_det_bboxes(img, np.array([[*box, 0.5]], np.float64), np.array([0]), show=False)
    assert got.shape == img.shape
    visualization.imshow_bboxes(img, np.array([[*box, 0.3]], np.float64), show=False)


# ---- labels ----------------------------------------------------------------------------------------------------------
def text_of(background, color, **kwargs):
    img = np.full((60, 120, 3), background, np.uint8)
    boxes = np.array([[10, 30, 60, 50, 0.87]])
    return visualization.imshow_det_bboxes(
        img, boxes, np.array([1]), ["cat", "dog"], text_color=color, bbox_color=(9, 9, 9), show=False, **kwargs
    )


@pytest.mark.parametrize("background", [0, 60, 127, 200, 255])
@pytest.mark.parametrize("color", ["green", "white", "black", "red", "yellow"])
def test_labels_are_readable(background, color):
    got = text_of(background, color).astype(int)
    plate = got[12:28, 10:60].reshape(-1, 3)
    luma = plate @ np.array([0.114, 0.587, 0.299])
    wanted = np.array(visualization.color_val(color)) @ np.array([0.114, 0.587, 0.299])
    written = np.abs(plate - visualization.color_val(color)).max(1) < 40
    assert 20 < written.sum() < 400
    assert np.abs(np.median(luma[~written]) - wanted) > 60  # the plate contrasts with the text


def test_scores_and_names():
    img = photo(100, 120)
    boxes = np.array([[10, 20, 50, 60, 0.9], [30, 40, 80, 90, 0.2]])
    labels = np.array([0, 1])
    all_boxes = visualization.imshow_det_bboxes(img, boxes, labels, show=False)
    some = visualization.imshow_det_bboxes(img, boxes, labels, score_thr=0.5, show=False)
    one = visualization.imshow_det_bboxes(img, boxes[:1], labels[:1], show=False)
    np.testing.assert_array_equal(some, one)
    assert (all_boxes != one).any()
    plain = visualization.imshow_det_bboxes(img, boxes[:, :4], labels, ["a", "b"], show=False)
    assert plain.shape == img.shape
    turned = np.array([[50, 50, 40, 20, 0.5, 0.8]])
    assert (visualization.imshow_det_bboxes(img, turned, labels[:1], show=False) != img).any()
    same = visualization.imshow_det_bboxes(img, turned[:, :5], labels[:1], rotated=True, show=False)
    assert (same != img).any()


def test_labels_stay_within_the_image():
    img = np.full((40, 200, 3), 128, np.uint8)
    for box in ([0, 0, 30, 30], [190, 35, 199, 39], [100, -5, 150, 20]):
        got = visualization.imshow_det_bboxes(img, np.array([box]), np.array([0]), ["name"], show=False)
        assert (got[..., 1].astype(int) - got[..., 0] > 40).sum() > 30 and (got != 128).any(-1).sum() > 300


def test_images_of_all_kinds(tmp_path):
    box = np.array([[5, 5, 20, 20]])
    gray = photo()[..., 0]
    assert visualization.imshow_bboxes(gray, box, show=False).shape == (60, 80, 3)
    assert visualization.imshow_bboxes(gray.astype(np.float32) / 255, box, (0, 1, 0), show=False).dtype == np.float32
    assert visualization.imshow_bboxes(np.dstack([photo(), gray]), box, show=False).shape == (60, 80, 4)
    image.imwrite(photo(), tmp_path / "a.png")
    wanted = visualization.imshow_bboxes(photo(), box, show=False)
    np.testing.assert_array_equal(visualization.imshow_bboxes(str(tmp_path / "a.png"), box, show=False), wanted)
    got = visualization.imshow_bboxes(torch.from_numpy(photo()), torch.from_numpy(box), show=False)
    np.testing.assert_array_equal(got, wanted)
    flipped = photo()[:, ::-1]
    np.testing.assert_array_equal(
        visualization.imshow_bboxes(flipped, box, show=False),
        visualization.imshow_bboxes(flipped.copy(), box, show=False),
    )


def test_drawing_refuses():
    img, box, label = photo(), np.array([[1, 2, 3, 4]]), np.array([0])
    for boxes in (np.zeros((2, 3)), np.zeros(4), np.array([[0, 0, np.nan, 1]]), np.array([[0, 0, np.inf, 1]])):
        with pytest.raises(ValueError, match="imshow_bboxes: bboxes"):
            visualization.imshow_bboxes(img, boxes, show=False)
        with pytest.raises(ValueError, match="imshow_det_bboxes: bboxes"):
            visualization.imshow_det_bboxes(img, boxes, label, show=False)
    with pytest.raises(AssertionError, match=r"labels must have shape \(1,\)"):
        visualization.imshow_det_bboxes(img, box, np.zeros(2, int), show=False)
    with pytest.raises(AssertionError, match="column of scores"):
        visualization.imshow_det_bboxes(img, box, label, score_thr=0.5, show=False)
    for labels in (np.array([2]), np.array([-1])):
        with pytest.raises(ValueError, match="labels must be from 0 to 1"):
            visualization.imshow_det_bboxes(img, box, labels, ["a", "b"], show=False)
    for thickness in (0, -2, 5000):
        with pytest.raises(ValueError, match="thickness"):
            visualization.imshow_bboxes(img, box, thickness=thickness, show=False)
    with pytest.raises(ValueError, match="font_scale"):
        visualization.imshow_det_bboxes(img, box, label, font_scale=0, show=False)
    with pytest.raises(ValueError, match="font_scale must be at most 1000"):
        visualization.imshow_det_bboxes(img, box, label, font_scale=2**31 - 1, show=False)
    with pytest.raises(AssertionError, match="img must have shape"):
        visualization.imshow_bboxes(np.zeros((3, 4, 2)), box, show=False)


# ---- showing ---------------------------------------------------------------------------------------------------------
def test_without_display(tmp_path):
    with pytest.raises(RuntimeError, match="neither a notebook nor a display"):
        visualization.imshow(photo())
    with pytest.raises(RuntimeError, match="pass out_file="):
        visualization.imshow_bboxes(photo(), np.array([[1, 2, 30, 40]]))
    path = tmp_path / "made/out.png"
    got = visualization.imshow_bboxes(photo(), np.array([[1, 2, 30, 40]]), out_file=str(path))
    np.testing.assert_array_equal(image.imread(path), got)


def notebook(monkeypatch):
    """Pretend to be one; what it shows."""
    shown = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.Image, display.display = lambda data: data, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_in_a_notebook(monkeypatch):
    shown = notebook(monkeypatch)
    assert visualization.imshow(photo()) is not None
    np.testing.assert_array_equal(image.imfrombytes(shown.pop()), photo())
    drawn = visualization.imshow_bboxes(photo(), np.array([[1, 2, 30, 40]]))
    np.testing.assert_array_equal(image.imfrombytes(shown.pop()), drawn)
    visualization.imshow(photo() > 100)
    assert set(np.unique(image.imfrombytes(shown.pop()))) == {0, 255}
    visualization.imshow(photo().astype(np.float32) / 255)
    np.testing.assert_array_equal(image.imfrombytes(shown.pop()), photo())
    flow = np.random.default_rng(0).normal(size=(20, 30, 2)).astype(np.float32)
    visualization.flowshow(flow)
    wanted = np.rint(visualization.flow2rgb(flow)[..., ::-1] * 255)
    np.testing.assert_array_equal(image.imfrombytes(shown.pop()), wanted)


def test_a_notebook_shows_the_picture_alone(monkeypatch):
    """A cell that ends in a drawing function showed it, and then forty lines of numbers."""
    shown = notebook(monkeypatch)
    box, label = np.array([[1, 2, 30, 40]]), np.array([0])
    for call in (
        lambda: visualization.imshow(photo()),
        lambda: visualization.imshow_bboxes(photo(), box),
        lambda: visualization.imshow_det_bboxes(photo(), box, label),
        lambda: visualization.flowshow(np.ones((4, 4, 2), np.float32)),
    ):
        out = call()
        assert len(shown) == 1 and shown.pop()
        assert out._ipython_display_() is None  # a notebook asks for no text then
        assert isinstance(out, np.ndarray) and type(out[:2]) is type(out + 1) is np.ndarray
        assert type(out.sum()) is not type(out)
    quiet = visualization.imshow_bboxes(photo(), box, show=False)
    assert type(quiet) is np.ndarray and not shown


def test_scores_given_as_labels():
    with pytest.raises(ValueError, match=r"labels must hold whole numbers, got 0.9: are they scores\?"):
        visualization.imshow_det_bboxes(photo(), np.array([[1, 2, 30, 40]]), np.array([0.9]), show=False)


def test_in_a_window(monkeypatch):
    """OpenCV's window if its build has one, else Tk's."""
    monkeypatch.setenv("DISPLAY", ":0")
    import cv2

    calls = []
    monkeypatch.setattr(cv2, "imshow", lambda title, img: calls.append((title, img.shape)))
    monkeypatch.setattr(cv2, "waitKey", lambda wait: calls.append(wait) or 27)
    visualization.imshow(photo(), "title", 5)
    visualization.imshow(photo(), "title")
    assert calls == [("title", (60, 80, 3)), 5, ("title", (60, 80, 3)), 20]

    def fail(*args):
        raise cv2.error("no window library")

    monkeypatch.setattr(cv2, "imshow", fail)
    tk = types.ModuleType("tkinter")

    class Root:
        def __getattr__(self, name):
            return lambda *args: calls.append(name)

    tk.Tk, tk.PhotoImage = Root, lambda master, data: calls.append(data[:8])
    tk.Label = lambda root, image: Root()
    monkeypatch.setitem(sys.modules, "tkinter", tk)
    calls.clear()
    visualization.imshow(photo(), "title", 5)
    assert calls == ["title", b"iVBORw0K", "pack", "bind", "after", "mainloop"]
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(RuntimeError, match="neither a notebook nor a display"):
        visualization.imshow(photo())


def test_names_of_css():
    """All of them, as Pillow has them, and the digits of a red, a green and a blue."""
    colors = pytest.importorskip("PIL.ImageColor")
    for name in colors.colormap:
        if name not in Color.__members__:
            assert color_val(name) == colors.getrgb(name)[::-1], name
    assert color_val("#FF8000") == (0, 128, 255) and color_val("Orange") == color_val("orange")
    for wrong in ("#ff80", "ff8000", "#gg0000", ""):
        with pytest.raises(ValueError, match="color must be one of"):
            color_val(wrong)
    with pytest.raises(ValueError, match="orange"):
        color_val("ornage")


def test_a_color_for_each_class():
    """Asked for, each class is drawn in its own; those of 80 classes differ so that one sees it."""
    colors = np.array([class_color(label) for label in range(80)])
    apart = np.abs(colors[:, None] - colors).sum(2) + 1000 * np.eye(80)
    assert apart.min() >= 50 and len(set(map(tuple, colors.tolist()))) == 80
    boxes = np.array([[10, 40, 60, 90], [100, 40, 150, 90.0]])
    drawn = imshow_det_bboxes(
        np.zeros((120, 200, 3), np.uint8), boxes, np.array([3, 7]), show=False, bbox_color="class"
    )
    assert tuple(drawn[60, 10]) == class_color(3) and tuple(drawn[60, 100]) == class_color(7)
    with pytest.raises(ValueError, match="color must be one of"):
        imshow_det_bboxes(drawn, boxes, np.array([3, 7]), show=False, bbox_color="classes")


def test_labels_avoid_one_another():
    """Boxes at one place have their texts above, inside and below."""
    boxes = np.array([[50, 60, 160, 160], [50, 60, 160, 160], [52, 61, 160, 160.0]])
    image = np.full((240, 240, 3), 128, np.uint8)
    plates = []
    for count in (1, 2, 3):
        drawn = imshow_det_bboxes(image, boxes[:count], np.arange(count), show=False, thickness=1, text_color="white")
        plates.append((drawn < 60).all(2).sum())  # black plates under white texts
    assert plates[1] > 1.9 * plates[0] and plates[2] > 2.8 * plates[0]
