"""The points in boxes, box by box (see include/box_members.cuh). A file that includes it instantiates `MEMBERS`."""

from arrayvision.cuda.runtime import empty, running_sum

MEMBERS = ["round_points", "count_members", "list_members"]
BLOCK = 256


def members(kernels, boxes, points):
    """The points of each box, rising, box by box, of boxes (B, M, 7) and points (B, N, 3) of as many examples.

    Returns (each one's box, counted through all examples; the points; each box's count; where each box's end)."""
    examples, per = boxes.shape[:2]
    n = examples * per
    counts = empty(boxes, (n,), "int32")
    about = empty(points, points.shape, "float32")
    kernels.launch("round_points", examples * points.shape[1] * 3, examples * points.shape[1] * 3, points, about)
    args = per, points.shape[1], boxes, points, about, counts
    kernels.launch("count_members", (n,), *args, block=BLOCK)
    ends = running_sum(counts)
    total = int(ends[n - 1]) if n else 0  # the one wait for the GPU
    owners, found = empty(boxes, (total,), "int32"), empty(boxes, (total,), "int32")
    if total:
        kernels.launch("list_members", (n,), *args, ends, owners, found, block=BLOCK)
    return owners, found, counts, ends
