"""`arrayvision demo`: boxes proposed on a photo, suppressed by class and drawn."""

from __future__ import annotations

import pathlib
import time

import numpy as np

from arrayvision import ops

PHOTO = pathlib.Path(__file__).parent / "data" / "deep_field.jpg"
CLASSES = ("small", "medium", "large")
COLORS = ((90, 220, 90), (0, 190, 255), (255, 120, 70))  # BGR
BORDERS = (0.024, 0.064)  # of the photo's width: sides of medium and of large boxes, at least
CONFIG = dict(type="nms", iou_threshold=0.3, score_threshold=0.3)


def propose(image):
    """Boxes, scores and classes of what stands out: stable regions (MSER) of each colour channel at several scales.

    A score is how much brighter or darker a region is than what surrounds it, times how well it fills its box; a class
    is a range of sizes.
    """
    import cv2

    boxes, scores = [], []
    detector = cv2.MSER_create(delta=2, min_area=40, max_variation=0.6, min_diversity=0.1)
    for channel in cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2LAB)):
        for scale in (0.5, 0.75, 1, 1.5, 2):
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            plane = cv2.resize(channel, None, fx=scale, fy=scale, interpolation=how)
            detector.setMaxArea(max(100, plane.size // 10))
            for points, (x, y, w, h) in zip(*detector.detectRegions(plane), strict=True):
                inside = plane[points[:, 1], points[:, 0]].mean(dtype=np.float32)
                left, top = max(x - w // 4 - 1, 0), max(y - h // 4 - 1, 0)
                around = plane[top : y + h + h // 4 + 1, left : x + w + w // 4 + 1].mean(dtype=np.float32)
                contrast = min(1, abs(inside - around) / 64)
                filled, square = len(points) / (w * h), min(w, h) / max(w, h)
                boxes.append((x / scale, y / scale, (x + w) / scale, (y + h) / scale))
                scores.append(contrast * (filled * square) ** 0.5)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return boxes, np.array(scores, np.float32), np.digitize(sides, np.array(BORDERS) * image.shape[1])


def draw(image, dets, classes):
    """Draw boxes in their classes' colours, the best last."""
    import cv2

    canvas = image.copy()
    for det, label in zip(dets[::-1], classes[::-1], strict=True):
        x1, y1, x2, y2 = (round(float(v)) for v in det[:4])
        cv2.rectangle(canvas, (x1, y1), (x2, y2), COLORS[label], 1)
    return canvas


def run(photo=None, out="demo.png") -> list[tuple[str, str]]:
    """Propose, suppress, draw, write; returns what was measured, as rows of a table."""
    import cv2

    path = pathlib.Path(photo) if photo is not None else PHOTO
    if not path.is_file():
        raise FileNotFoundError(f"demo: no such photo: {path}")
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"demo: {path} is no picture that OpenCV can read")
    out = pathlib.Path(out)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"demo: there is no folder {out.parent} to write the picture to")
    if not cv2.haveImageWriter(str(out)):
        raise ValueError(f"demo: --out must end in a picture's format, .png or .jpg, got {out.name}")
    boxes, scores, classes = propose(image)
    times = []
    for _ in range(21):
        start = time.perf_counter()
        dets, inds = ops.batched_nms(boxes, scores, classes, CONFIG)
        times.append((time.perf_counter() - start) * 1e3)
    if not cv2.imwrite(str(out), draw(image, dets, classes[inds])):
        raise OSError(f"demo: could not write {out}")
    kept = np.bincount(classes[inds], minlength=len(CLASSES))
    from arrayvision.array import arrays

    return [
        ("photo", f"{path.name}, {image.shape[1]} x {image.shape[0]}"),
        ("boxes in", f"{len(boxes):,}"),
        ("boxes kept", f"{len(inds):,} ({', '.join(f'{n:,} {c}' for n, c in zip(kept, CLASSES, strict=True))})"),
        ("first call", f"{times[0]:.1f} ms (loads or compiles the kernels)"),
        ("next calls", f"{np.median(times[1:]):.2f} ms"),
        ("back end", arrays("demo", boxes=boxes).backend),
        ("picture", str(out)),
    ]
