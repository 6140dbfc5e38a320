"""Upright boxes in space (x, y, z of the bottom's centre, dx, dy, dz, yaw), and the points in them; in float64.

A point is inside if it is strictly so in x and y, in the box's frame, and within its height, ends included. For `members`,
points are sorted by x once, so that a box looks at those alone that it can reach along x.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import rising_key, sort_pairs


@kernel
def frame_of(box):
    """(x, y, z of the bottom, half of dx, dy and dz, cosine and sine of yaw)."""
    yaw = np.float64(box[6])
    return (
        np.float64(box[0]), np.float64(box[1]), np.float64(box[2]), np.float64(box[3]) / 2, np.float64(box[4]) / 2,
        np.float64(box[5]) / 2, np.cos(yaw), np.sin(yaw),
    )  # fmt: skip


@kernel
def turned(frame, x, y):
    """A point's x and y in the box's frame: turned round the box's centre by -yaw."""
    dx, dy = x - frame[0], y - frame[1]
    return dx * frame[6] + dy * frame[7], dy * frame[6] - dx * frame[7]


@kernel
def contains(frame, x, y, z):
    """Whether a point is in the box; never for NaN."""
    lx, ly = turned(frame, x, y)
    return (abs(lx) < frame[3]) & (abs(ly) < frame[4]) & (abs(z - (frame[2] + frame[5])) <= frame[5])


@kernel
def reaches(frame):
    """How far from its centre a box reaches along x, and along y, and a little more than roundings come to."""
    x = abs(frame[3] * frame[6]) + abs(frame[4] * frame[7])
    y = abs(frame[3] * frame[7]) + abs(frame[4] * frame[6])
    more = 1e-9 * (abs(frame[0]) + abs(frame[1]) + x + y)
    return x + more, y + more


@kernel
def sorted_along_x(points, points_bits):
    """The rows of points whose x is finite, by rising x. The bits are those of the points, as integers."""
    n = points.shape[0]
    sign = np.uint64(1) << np.uint64(63)
    keys, order = np.empty(n, np.uint64), np.empty(n, np.int32)
    count = 0
    for i in range(n):
        if points[i, 0] - points[i, 0] == 0:
            keys[count], order[count] = rising_key(points_bits[i, 0], sign), i
            count += 1
    return sort_pairs(keys[:count], order[:count], 64)[1]


@kernel
def members(points, order, frame, found):
    """Write the points in a box to `found`, rising: how many they are. The order is that along x."""
    for value in frame:
        if value - value != 0:  # nothing is in a box that isn't finite
            return 0
    reach = reaches(frame)[0]
    low, high = 0, order.shape[0]
    while low < high:
        middle = (low + high) // 2
        if points[order[middle], 0] < frame[0] - reach:
            low = middle + 1
        else:
            high = middle
    count = 0
    for k in range(low, order.shape[0]):
        i = order[k]
        x = points[i, 0]
        if not x <= frame[0] + reach:
            break
        if contains(frame, x, points[i, 1], points[i, 2]):
            found[count] = i
            count += 1
    keys, spare = np.empty(count, np.uint32), np.empty(count, np.int32)
    for k in range(count):
        keys[k] = found[k]
        spare[k] = 0
    keys = sort_pairs(keys, spare, 32)[0]
    for k in range(count):
        found[k] = keys[k]
    return count
