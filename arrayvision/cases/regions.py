"""What the cases of the RoI operators share: plain loops in float64, as the definitions say, and regions."""

import numpy as np

from arrayvision.cases import Case


def bilinear(image, y, x):
    """The channels of image (C, H, W) at a point; the border's up to one pixel outside, then 0."""
    _, h, w = image.shape
    if not (h and w and -1 <= y <= h and -1 <= x <= w):
        return np.zeros(len(image))
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    fy, fx = y - y0, x - x0
    top = (1 - fx) * image[:, y0, x0] + fx * image[:, y0, x1]
    return (1 - fy) * top + fy * ((1 - fx) * image[:, y1, x0] + fx * image[:, y1, x1])


def grid(size, count):
    return (np.arange(count) + 0.5) * size / count


def counts(height, width, size, ratio):
    return [ratio or int(np.ceil(v / n)) for v, n in zip((height, width), size, strict=True)]


def pooled(x, rois, size, bins):
    """(K, C, height, width) from the values (samples, C) of each bin: `bins(image, roi, i, j)` gives their reduction."""
    out = np.zeros((len(rois), x.shape[1], *size))
    for k, roi in enumerate(rois):
        for i in range(size[0]):
            for j in range(size[1]):
                out[k, :, i, j] = bins(x[int(roi[0])], roi[1:], i, j) if np.isfinite(roi).all() else np.nan
    return out


def mean(values, channels):
    return np.mean(values, 0) if values else np.zeros(channels)


def roi_align(x, rois, size, scale, ratio, aligned, mode="avg", offset=None, gamma=0.0):
    half = 0.5 if aligned else 0

    def bins(image, roi, i, j, k=None):
        x1, y1, x2, y2 = roi * scale - half
        w, h = x2 - x1, y2 - y1
        if not aligned:
            w, h = max(w, 1), max(h, 1)
        gh, gw = counts(h, w, size, ratio)
        dx, dy = (0, 0) if offset is None else offset[roi_number[0], :, i, j] * gamma * np.array([w, h])
        ys = y1 + dy + i * h / size[0] + (grid(h / size[0], gh) if gh > 0 else np.empty(0))
        xs = x1 + dx + j * w / size[1] + (grid(w / size[1], gw) if gw > 0 else np.empty(0))
        values = [bilinear(image, y, a) for y in ys for a in xs]
        if mode == "max":
            return np.max(values, 0) if values else np.zeros(len(image))
        return mean(values, len(image))

    roi_number = [0]
    if offset is None:
        return pooled(x, rois, size, bins)
    parts = [np.zeros((0, x.shape[1], *size))]
    for k in range(len(rois)):
        roi_number[0] = k
        parts.append(pooled(x, rois[k : k + 1], size, bins))
    return np.concatenate(parts)


def roi_align_rotated(x, rois, size, scale, ratio, aligned, clockwise):
    def bins(image, roi, i, j):
        cx, cy, w, h = roi[:4] * scale
        if aligned:
            cx, cy = cx - 0.5, cy - 0.5
        else:
            w, h = max(w, 1), max(h, 1)
        gh, gw = counts(h, w, size, ratio)
        theta = -roi[4] if clockwise else roi[4]
        values = []
        for v in -h / 2 + i * h / size[0] + grid(h / size[0], gh):
            for u in -w / 2 + j * w / size[1] + grid(w / size[1], gw):
                point = complex(cx, cy) + complex(u, v) * np.exp(-1j * theta)
                values.append(bilinear(image, point.imag, point.real))
        return mean(values, len(image))

    return pooled(x, rois, size, bins)


def riroi_align_rotated(x, rois, size, scale, ratio, orientations, clockwise):
    plain = roi_align_rotated(x, rois, size, scale, ratio, False, clockwise)
    out = np.empty_like(plain)
    for k, roi in enumerate(rois):
        turns = roi[5] / (2 * np.pi) * orientations
        whole = int(np.floor(turns))
        groups = plain[k].reshape(-1, orientations, *size)
        a, b = np.roll(groups, whole, 1), np.roll(groups, whole - 1, 1)
        out[k] = ((1 - (turns - whole)) * a + (turns - whole) * b).reshape(plain[k].shape)
    return out


def bezier_align(x, curves, size, scale, ratio, aligned):
    def bins(image, row, i, j):
        points = (row * scale).reshape(8, 2)
        upper, lower = points[:4], points[4:][::-1]
        t = j / size[1]
        powers = np.array([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3])
        x0, y0 = (1 - i / size[0]) * powers @ upper + i / size[0] * powers @ lower - (0.5 if aligned else 0)
        w, h = np.maximum(abs(upper[0] - upper[3]), abs(lower[0] - lower[3]))
        if not aligned:
            w, h = max(w, 1), max(h, 1)
        gh, gw = counts(h, w, size, ratio)
        ys, xs = y0 - h / size[0] / 2 + grid(h / size[0], gh), x0 - w / size[1] / 2 + grid(w / size[1], gw)
        return mean([bilinear(image, y, a) for y in ys for a in xs], len(image))

    return pooled(x, curves, size, bins)


def roi_pool(x, rois, size, scale):
    def bins(image, roi, i, j):
        x1, y1 = roi[:2] * scale
        w, h = (roi[2:] + 1) * scale - (x1, y1)
        bw, bh = w / size[1], h / size[0]
        rows = slice(max(int(np.floor(y1 + i * bh)), 0), max(int(np.ceil(y1 + (i + 1) * bh)), 0))
        columns = slice(max(int(np.floor(x1 + j * bw)), 0), max(int(np.ceil(x1 + (j + 1) * bw)), 0))
        part = image[:, rows, columns]
        return part.max((1, 2)) if part.size and w > 0 and h > 0 else np.zeros(len(image))

    return pooled(x, rois, size, bins)


def prroi_pool(x, rois, size, scale):
    """The integral of the surface, which is bilinear within a pixel's cell and 0 beyond the pixels around the map: Gauss's
    rule with two points is exact on each piece."""
    nodes, weights = np.polynomial.legendre.leggauss(2)

    def pieces(a, b):
        cuts = np.unique(np.clip([a, *np.arange(np.floor(a), np.ceil(b) + 1), b], a, b))
        middle, half = (cuts[1:] + cuts[:-1]) / 2, (cuts[1:] - cuts[:-1]) / 2
        return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()

    def bins(image, roi, i, j):
        x1, y1, x2, y2 = roi * scale
        h, w = (y2 - y1) / size[0], (x2 - x1) / size[1]
        if h <= 0 or w <= 0:
            return np.zeros(len(image))
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        ys, wy = pieces(y1 + i * h, y1 + (i + 1) * h)
        xs, wx = pieces(x1 + j * w, x1 + (j + 1) * w)
        total = np.zeros(len(image))
        for y, p in zip(ys, wy, strict=True):
            for a, q in zip(xs, wx, strict=True):
                if -1 <= y <= image.shape[1] and -1 <= a <= image.shape[2]:
                    total += p * q * bilinear(padded, y + 1, a + 1)
        return total / (h * w)

    return pooled(x, rois, size, bins)


def border_align(x, boxes, steps):
    batch, channels, h, w = x.shape
    x = x.reshape(batch, 4, channels // 4, h, w)
    out = np.zeros((batch, channels // 4, boxes.shape[1], 4))
    for b in range(batch):
        for n, (x1, y1, x2, y2) in enumerate(boxes[b]):
            corners = [(x1, y1, x2, y1), (x1, y1, x1, y2), (x2, y2, x1, y2), (x2, y2, x2, y1)]
            for side, (p, q, r, s) in enumerate(corners):
                points = [(q + (s - q) * t / steps, p + (r - p) * t / steps) for t in range(steps + 1)]
                out[b, :, n, side] = np.max([bilinear(x[b, side], *point) for point in points], 0)
    return out


def rotated_feature_align(x, boxes, scale, points):
    out = x.astype(np.float64).copy()
    for b, i, j in np.ndindex(boxes.shape[:3]):
        cy, cx, w, h = boxes[b, i, j, :4] * scale
        signs = [(0, 0), (1, 1), (-1, 1), (-1, -1), (1, -1)][:points]
        for p, q in signs:
            point = complex(cx, cy) + complex(p * w / 2, q * h / 2) * np.exp(1j * boxes[b, i, j, 4])
            out[b, :, i, j] += bilinear(x[b], point.imag, point.real)
    return out


# ---- inputs -----------------------------------------------------------------------------------------------------------
SIZE, SHAPE, SMALL = (3, 2), (2, 8, 9, 11), (2, 4, 5, 6)


def features(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).standard_normal(shape)


def upright(seed=1, count=7):
    """Regions on an image of twice the features' size, some partly or wholly outside, the last two without extent."""
    rng = np.random.default_rng(seed)
    xy, wh = rng.uniform(-6, 18, (count, 2)), rng.uniform(1, 20, (count, 2))
    wh[-1] = 0
    rois = np.concatenate([rng.integers(0, 2, (count, 1)), xy, xy + wh], 1)
    rois[0, 1:] = -40, -40, -30, -30
    return rois


def rotated(seed=2, count=7):
    rng = np.random.default_rng(seed)
    centre, wh = rng.uniform(-2, 22, (count, 2)), rng.uniform(1, 20, (count, 2))
    rois = np.concatenate([rng.integers(0, 2, (count, 1)), centre, wh, rng.uniform(-7, 7, (count, 1))], 1)
    rois[0, 5], rois[1, 5] = 0, np.pi / 2
    return rois


def curves(seed=3, count=5):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-2, 22, (count, 2, 4)), -1)
    x[:, 1] = x[:, 1, ::-1]
    y = rng.uniform(-2, 8, (count, 2, 4)) + np.array([0, 8])[:, None]
    return np.concatenate([rng.integers(0, 2, (count, 1)), np.stack([x, y], -1).reshape(count, 16)], 1)


def boxes(seed=4, count=6):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-3, 9, (2, count, 2))
    return np.concatenate([xy, xy + rng.uniform(0, 8, (2, count, 2))], -1)


def positions(seed=5):
    rng = np.random.default_rng(seed)
    shape = 2, 9, 11, 1
    parts = [rng.uniform(-2, 20, shape), rng.uniform(-2, 24, shape), *(rng.uniform(1, 9, (2, *shape)))]
    return np.concatenate([*parts, rng.uniform(-4, 4, shape)], -1)


def case(name, function, plain, backward, arguments, maps="input", wrt=None, shapes=None, derivatives="", **others):
    """A case of an operator on feature maps and what else it takes, by name; regions unless `shapes` says otherwise."""
    regions = {n: f"K {x.shape[1]}" for n, x in others.items() if n not in (shapes or {})}
    return Case(
        name,
        function,
        {maps: features(0, SMALL), **others},
        {maps: "B C H W", **regions, **(shapes or {})},
        lambda **given: plain(*(given.pop(n) for n in (maps, *others)), *given.values()),
        arguments,
        wrt=wrt or (maps,),
        derivatives=derivatives,
        backward=backward,
        indexed="B" if regions else "",
        tolerance=64,
    )
