"""Images and boxes, drawn and shown."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Sequence

import cv2
import numpy as np

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.image._array import packed, to_numpy
from arrayvision.image.io import imread, imwrite
from arrayvision.typing import ImageArray
from arrayvision.visualization.color import Color, class_color, color_val

ColorLike = Color | str | tuple | int | np.ndarray
FAR = 1 << 20  # pixels beyond which a corner isn't followed


# ---- showing ---------------------------------------------------------------------------------------------------------
def imshow(img: str | ImageArray, win_name: str = "", wait_time: int = 0) -> np.ndarray:
    """Show an image: in a notebook below the cell, else in a window.

    Parameters
    ----------
    img : array (H, W, C) or (H, W), str or path
        BGR. Floats are shown from 0 (black) to 1 (white).
    win_name : str
        The window's title.
    wait_time : int
        Milliseconds that the window stays, or until a key is pressed; 0 waits for a key or for its closing. A notebook
        doesn't wait.

    Returns
    -------
    array
        The image, as NumPy.

    Raises
    ------
    RuntimeError
        If there is neither a notebook nor a display: write to a file instead.
    TypeError, ValueError, OSError
        If img is no image, as `imread`.
    """
    image = _loaded("imshow", img)
    wait_time = check.integer("imshow", "wait_time", wait_time, 0)
    if not _show(_bytes(image), win_name, wait_time):
        raise RuntimeError(
            "imshow: there is neither a notebook nor a display to show the image in: write it to a file, with imwrite or "
            "with out_file= of imshow_bboxes and imshow_det_bboxes"
        )
    return _shown(image)


def _loaded(name, img):
    image = to_numpy(name, "img", imread(img))
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise InvalidValue(
            f"{name}: img must have shape (H, W) or (H, W, 1, 3 or 4) and pixels, got {tuple(image.shape)}"
        )
    return image


def _bytes(image):
    """The image in uint8, as a screen shows it."""
    if image.dtype == np.uint8:
        return packed(image)
    if image.dtype.kind == "f":
        return np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else np.clip(image, 0, 255).astype(np.uint8)


def _show(image, title, wait_time):
    """Show it somewhere; False where that can't be."""
    if _notebook():
        from IPython.display import Image, display

        display(Image(data=_png(image)))
        return True
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # asked without one, OpenCV's window library ends the process
    return _opencv_window(image, title, wait_time) or _tk_window(image, title, wait_time)


class _Shown(np.ndarray):
    """An image that its cell has shown: a cell that ends in it prints no numbers below the picture."""

    def _ipython_display_(self):
        pass

    def __array_finalize__(self, other):
        pass

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array[()] if return_scalar else np.asarray(array)

    def __getitem__(self, key):
        return np.asarray(self)[key]


def _shown(image):
    return image.view(_Shown) if _notebook() else image


def _notebook():
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")


def _png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def _opencv_window(image, title, wait_time):
    try:
        cv2.imshow(title, image)
    except cv2.error:  # the headless build
        return False
    if wait_time:
        cv2.waitKey(wait_time)
        return True
    while cv2.waitKey(20) == -1 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1:
        pass
    return True


def _tk_window(image, title, wait_time):
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception:  # Python without Tk, or a display that can't be opened
        return False
    root.title(title)
    picture = tkinter.PhotoImage(master=root, data=base64.b64encode(_png(image)))
    tkinter.Label(root, image=picture).pack()
    root.bind("<Key>", lambda event: root.destroy())
    if wait_time:
        root.after(wait_time, root.destroy)
    root.mainloop()
    return True


# ---- boxes -----------------------------------------------------------------------------------------------------------
def imshow_bboxes(
    img: str | ImageArray,
    bboxes: list | ImageArray,
    colors: ColorLike | list = "green",
    top_k: int = -1,
    thickness: int = 1,
    show: bool = True,
    win_name: str = "",
    wait_time: int = 0,
    out_file: str | None = None,
    *,
    rotated: bool | None = None,
) -> np.ndarray:
    """Draw boxes on a copy of an image.

    Parameters
    ----------
    img : array (H, W, C) or (H, W), str or path
        BGR; a gray image is drawn on in color.
    bboxes : array (K, 4), (K, 5) or (K, 6), or a list of such
        (x1, y1, x2, y2), or rotated boxes (x, y, w, h, angle) about their center (x, y), the angle in radians, clockwise;
        a 6th column, a score, isn't drawn. Pixels; fractions are cut off.
    colors : color or list of colors
        As `color_val` takes them: one, or one for each array of the list.
    top_k : int
        Draw the first ones only; all if it isn't positive.
    thickness : int
        Of lines; -1 fills the boxes.
    show : bool
        Show the result, as `imshow` does. Where that can't be, it is written to out_file only.
    win_name, wait_time
        As for `imshow`.
    out_file : str, optional
        Where to write the result.
    rotated : bool, optional
        Whether columns are of rotated boxes; None takes 4 columns as not, 5 and 6 as rotated. False with 5 columns takes
        the last one as a score.

    Returns
    -------
    array
        The drawn image, NumPy.

    Raises
    ------
    RuntimeError
        If it is to be shown, can't be, and there is no out_file.
    TypeError, ValueError
        If something is of a wrong kind or shape, or a box isn't finite.
    """
    name = "imshow_bboxes"
    canvas = _canvas(name, img)
    groups = list(bboxes) if isinstance(bboxes, (list, tuple)) else [bboxes]
    paints = list(colors) if isinstance(colors, list) else [colors] * len(groups)
    if len(paints) != len(groups):
        raise InvalidValue(f"{name}: colors must have one for each of {len(groups)} arrays of boxes, got {len(paints)}")
    thickness = _thickness(name, thickness)
    top_k = check.integer(name, "top_k", top_k)
    for group, paint in zip(groups, paints, strict=True):
        boxes, turned = _boxes(name, group, rotated, {4: False, 5: True, 6: True})
        for box in boxes[: top_k if top_k > 0 else None]:
            _draw(canvas, box, turned, color_val(paint), thickness)
    return _finish(name, canvas, show, win_name, wait_time, out_file)


def imshow_det_bboxes(
    img: str | ImageArray,
    bboxes: ImageArray,
    labels: ImageArray,
    class_names: Sequence[str] | None = None,
    score_thr: float = 0,
    bbox_color: ColorLike = "green",
    text_color: ColorLike = "green",
    thickness: int = 1,
    font_scale: float = 0.5,
    show: bool = True,
    win_name: str = "",
    wait_time: int = 0,
    out_file: str | None = None,
    *,
    rotated: bool | None = None,
) -> np.ndarray:
    """Draw boxes with their classes and scores on a copy of an image.

    Texts lie on plates, readable on any background: above their boxes, or where they cover no other text, if there is such
    a place at the box.

    Parameters
    ----------
    img : array (H, W, C) or (H, W), str or path
        BGR; a gray image is drawn on in color.
    bboxes : array (K, 4), (K, 5) or (K, 6)
        (x1, y1, x2, y2), then a score if there are 5 columns; with 6, rotated boxes (x, y, w, h, angle) about their
        center, the angle in radians, clockwise, and a score.
    labels : array (K,)
        Classes, from 0.
    class_names : sequence of str, optional
        Their names.
    score_thr : float
        Draw only what has a greater score; 0 draws all.
    bbox_color, text_color : color
        As `color_val` takes them; "class" for each class's own (`class_color`).
    thickness : int
        Of lines; -1 fills the boxes.
    font_scale : float
        Size of texts.
    show, win_name, wait_time, out_file
        As for `imshow_bboxes`.
    rotated : bool, optional
        True takes 5 columns as rotated boxes without scores.

    Returns
    -------
    array
        The drawn image, NumPy.

    Raises
    ------
    RuntimeError
        If it is to be shown, can't be, and there is no out_file.
    TypeError, ValueError
        If something is of a wrong kind or shape, a box isn't finite, or a label has no name.
    """
    name = "imshow_det_bboxes"
    canvas = _canvas(name, img)
    boxes, turned = _boxes(name, bboxes, rotated, {4: False, 5: False, 6: True})
    labels = to_numpy(name, "labels", labels)
    if labels.ndim != 1 or len(labels) != len(boxes):
        raise InvalidValue(f"{name}: labels must have shape ({len(boxes)},), got {tuple(labels.shape)}")
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():
        raise InvalidValue(
            f"{name}: labels must hold whole numbers, got {labels[labels % 1 != 0][0]:g}: are they scores?"
        )
    scores = boxes[:, -1] if boxes.shape[1] == (6 if turned else 5) else None
    score_thr = check.number(name, "score_thr", score_thr)
    if score_thr > 0:
        if scores is None:
            raise InvalidValue(f"{name}: bboxes must have a column of scores for score_thr, got shape {boxes.shape}")
        kept = scores > score_thr
        boxes, labels, scores = boxes[kept], labels[kept], scores[kept]
    colors, text_colors = (
        [class_color(int(label)) for label in labels]
        if isinstance(color, str) and color == "class"
        else [color_val(color)] * len(labels)
        for color in (bbox_color, text_color)
    )
    thickness, font_scale = _thickness(name, thickness), check.number(name, "font_scale", font_scale, above=0)
    if font_scale > 1000:  # letters of 22,000 pixels; from 2**31 on OpenCV crashes
        raise ValueError(f"{name}: font_scale must be at most 1000, got {font_scale}")
    corners = [_draw(canvas, box, turned, color, thickness) for box, color in zip(boxes, colors, strict=True)]
    plates: list[tuple[int, int, int, int]] = []
    for i, label in enumerate(labels.tolist()):  # above all boxes
        text = f"cls {label}"
        if class_names is not None:
            if label != int(label) or not 0 <= label < len(class_names):
                raise ValueError(f"{name}: labels must be from 0 to {len(class_names) - 1}, got {label}")
            text = str(class_names[int(label)])
        if scores is not None:
            text += f"|{scores[i]:.02f}"
        plates.append(_write(canvas, text, corners[i], text_colors[i], font_scale, plates))
    return _finish(name, canvas, show, win_name, wait_time, out_file)


def _canvas(name, img):
    """A copy to draw on, in color."""
    image = _loaded(name, img)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return np.array(image, order="C")


def _thickness(name, thickness):
    thickness = check.integer(name, "thickness", thickness, -1)
    if thickness == 0 or thickness > 1000:
        raise ValueError(f"{name}: thickness must be -1 or from 1 to 1000, got {thickness}")
    return thickness


def _boxes(name, boxes, rotated, defaults):
    """Boxes as float64, and whether they are rotated."""
    boxes = to_numpy(name, "bboxes", boxes)
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 5, 6):
        raise InvalidValue(f"{name}: bboxes must have shape (K, 4), (K, 5) or (K, 6), got {tuple(boxes.shape)}")
    columns = boxes.shape[1]
    turned = defaults[columns] if rotated is None else check.flag(name, "rotated", rotated)
    if columns not in ((5, 6) if turned else (4, 5)):
        raise InvalidValue(f"{name}: bboxes must have {'5 or 6' if turned else '4 or 5'} columns, got {columns}")
    if boxes.dtype.kind not in "iuf":
        raise InvalidKind(f"{name}: bboxes must hold real numbers, got dtype {boxes.dtype}")
    boxes = boxes.astype(np.float64)
    if not np.isfinite(boxes[:, : 5 if turned else 4]).all():
        raise ValueError(f"{name}: bboxes must be finite")
    return boxes, turned


def _draw(canvas, box, turned, color, thickness):
    """Draw a box; returns where its text goes, two points: the leftmost of its topmost corners, and what is opposite."""
    box = np.clip(box, -FAR, FAR)
    if not turned:
        x1, y1, x2, y2 = (int(v) for v in box[:4])
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness)
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    x, y, w, h, angle = box[:5]
    cos, sin = np.cos(angle), np.sin(angle)
    half = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
    corners = np.clip(half @ np.array([[cos, sin], [-sin, cos]]) + (x, y), -FAR, FAR).astype(np.int32)
    if thickness < 0:
        cv2.fillPoly(canvas, [corners], color)
    else:
        cv2.polylines(canvas, [corners], True, color, thickness)
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    return *corners[order[0]].tolist(), *corners[order[-1]].tolist()


def _write(canvas, text, corners, color, scale, plates):
    """Write a text at a box, within the image, on a plate that contrasts with its color, and that covers others as little
    as it can. Returns the plate (left, top, right, bottom)."""
    font, (height, width) = cv2.FONT_HERSHEY_COMPLEX, canvas.shape[:2]
    (w, h), below = cv2.getTextSize(text, font, scale, 1)
    x1, y1, x2, y2 = corners
    high = h + below + 1
    # above the box, inside it at its top, below it; at its left side, then at its right
    places = [(x, y) for x in (x1, x2 - w) for y in (y1 - 2, y1 + high, y2 + high)]
    places = [(min(max(x, 0), max(width - w - 1, 0)), min(max(y, h + below), height - 1)) for x, y in places]

    def covered(place):
        x, y = place
        return sum(
            max(0, min(x + w, c) - max(x, a) + 1) * max(0, min(y, d) - max(y - h - below, b) + 1)
            for a, b, c, d in plates
        )

    x, bottom = min(places, key=covered)  # the first of equals
    blue, green, red = color
    plate = (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else (255, 255, 255)
    top = max(bottom - h - below, 0)
    part = canvas[top : bottom + 1, x : x + w + 1]
    part[..., :3] = (part[..., :3] * 0.25 + np.array(plate) * 0.75).astype(canvas.dtype)
    cv2.putText(canvas, text, (x, bottom - below), font, scale, color, 1, cv2.LINE_AA)
    return x, top, x + w, bottom


def _finish(name, canvas, show, title, wait_time, out_file):
    wait_time = check.integer(name, "wait_time", wait_time, 0)
    if out_file is not None:
        imwrite(canvas, out_file)
    if check.flag(name, "show", show) and not _show(_bytes(canvas), title, wait_time) and out_file is None:
        raise RuntimeError(
            f"{name}: there is neither a notebook nor a display to show the image in: pass out_file=, or show=False"
        )
    return _shown(canvas) if show else canvas
