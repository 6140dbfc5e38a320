"""8-bit color images looked up into planes: normalizing and the change of layout in one pass."""

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import take


@kernel
def _look_up(src, dst, table):
    for i in range(dst.shape[0]):
        dst[i] = table[src[3 * i]]


@kernel
def look_up_planes(img, tables, swap, out, turn, grain, n):
    """``out[c, y, x] = tables[c, img[y, x, c']]``, c' = 2 - c if `swap`.

    img : (H, W * 3) uint8
    tables : (3, 256)
    out : (3, H, W) or more, of the tables' dtype
    """
    width = img.shape[1] // 3
    start = take(turn, grain)
    while start < n:
        rows, to = img[start : min(start + grain, n)], out[:, start:]
        for y in range(rows.shape[0]):
            for c in range(3):
                _look_up(rows[y, 2 - c if swap else c :], to[c, y, :width], tables[c])
        start = take(turn, grain)
