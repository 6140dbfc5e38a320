"""Dilations to try, and the padding that keeps the size."""

from __future__ import annotations

import json


def write_to_json(config: dict, filename: str) -> None:
    """Write a search's configuration to a file."""
    with open(filename, "w", encoding="utf-8") as file:
        json.dump(config, file)


def expand_rates(dilation: tuple, config: dict) -> list[tuple[int, int]]:
    """Dilations around one: smaller, itself (if `num_branches` is odd) and larger by `exp_rate`, in [mmin, mmax].

    Examples
    --------
    >>> expand_rates((4, 4), dict(exp_rate=0.5, num_branches=3, mmin=1, mmax=24))
    [(2, 2), (4, 4), (6, 6)]
    """

    def scaled(factor):
        return tuple(max(config["mmin"], min(config["mmax"], round(factor * d))) for d in dilation)

    pairs = config["num_branches"] // 2
    rates = [scaled(1 - config["exp_rate"])] * pairs
    if config["num_branches"] % 2:
        rates.append(tuple(dilation))
    rates += [scaled(1 + config["exp_rate"])] * pairs
    return list(dict.fromkeys(rates))


def get_single_padding(kernel_size: int, stride: int = 1, dilation: int = 1) -> int:
    """The padding of one axis with which a convolution gives size / stride positions."""
    return (stride - 1 + dilation * (kernel_size - 1)) // 2
