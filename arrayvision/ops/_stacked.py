"""Clouds of different sizes that lie behind one another in one array, and the counts that say where each ends."""

from __future__ import annotations

import numpy as np

from arrayvision.errors import InvalidKind, InvalidValue


def given(at, name: str, counts, other_name: str, other_counts) -> bool:
    """Whether counts are given, both or neither."""
    if (counts is None) != (other_counts is None):
        have, lacks = (other_name, name) if counts is None else (name, other_name)
        raise InvalidKind(f"{at.function}: {lacks} must be given with {have}, got None")
    return counts is not None


def counts(at, **given):
    """Check counts against how many rows they must add up to, and read them as int64: ``counts(at, sizes=(sizes, 30), ...)``.

    A GPU's are not looked at.
    """
    at.sizes(**dict.fromkeys(given, "B"))
    found = [at.integers("int64", 0, **{name: array}) for name, (array, _) in given.items()]
    if at.backend == "cpu":
        for view, (name, (_, rows)) in zip(found, given.items(), strict=True):
            if view.sum() != rows:
                raise InvalidValue(f"{at.function}: {name} must add up to the number of rows, {rows}, got {view.sum()}")
    return found


def indices(at, indices, counts, index_counts):
    """Check that indices (rows, S) are within their clouds, and read them as int32. A GPU's are not looked at."""
    view = at.integers("int32", indices=indices)
    if at.backend == "cpu" and view.size:
        most = np.repeat(counts, index_counts)[:, None]
        bad = np.flatnonzero(((view < 0) | (view >= most)).any(1))
        if len(bad):
            row = bad[0]
            raise InvalidValue(
                f"{at.function}: indices[{row}] must be within the cloud's {most[row, 0]} points, got {view[row].min()} to "
                f"{view[row].max()}"
            )
    return view
