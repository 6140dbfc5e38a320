"""Clouds of different sizes that lie behind one another in one array, and the counts that say where each ends."""

from __future__ import annotations

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
            if view.max(initial=0) > rows or view.sum() != rows:  # of larger ones the sum could wrap round to it
                total = sum(view.tolist())
                raise InvalidValue(f"{at.function}: {name} must add up to the number of rows, {rows}, got {total}")
    return found
