"""exp, logarithms and maxima for inner loops.

exp and logarithms of float32 are polynomials, which compilers vectorise (0.3 ns against libm's 2.9), within 2 roundings;
those of float64 are libm's, but for `exp_parts` and `exp_any`, which are polynomials too (0.7 ns).
"""

import math

import numpy as np
from numba import float32, int32
from numba.extending import overload

F = np.float32
INLINE = {"forceinline": True, "fastmath": {"contract"}}  # polynomials in fused steps


def exp_down(x):
    """exp of x <= 0; in float32 0 for x < -87, where results would be subnormal."""
    return math.exp(x)


def exp_parts(x):
    """exp(x) and exp(x) - 1 of x <= 0, each within 2 roundings; exp is 0 where results would be subnormal."""
    return math.exp(x), math.expm1(x)


def exp_any(x):
    """exp of any x within 2 roundings: the least normal number at least, and infinite where results would be nearly that."""
    return math.exp(x)


def log1p_unit(x):
    """log(1 + x) of x within [0, 1]."""
    return math.log1p(x)


def log_up(x):
    """log of x >= 1."""
    return math.log(x)


def _exp32(x):
    least = F(-87.0)
    small = x < least
    x = least if small else x
    n = np.floor(x * F(1.4426950408889634) + F(0.5))
    r = (x - n * F(0.693359375)) + n * F(
        2.12194440e-4
    )  # log 2 in two parts, the first with 9 bits: its product is exact
    p = F(1 / 5040) * r + F(1 / 720)
    p = p * r + F(1 / 120)
    p = p * r + F(1 / 24)
    p = p * r + F(1 / 6)
    p = p * r + F(0.5)
    p = (p * r + F(1.0)) * r + F(1.0)
    power = np.int32(n) if n > F(-127.0) else np.int32(-127)  # NaN gives some number, and p is NaN
    p *= np.int32((power + np.int32(127)) << 23).view(F)
    return F(0.0) if small else p


# exp(n log 2 + r) is 2**n (1 + p(r)); adding the number below rounds to n and puts n + bias into the lowest bits, where an
# exponent is taken from. In float32 p has the least greatest error of its degree, a thirtieth of a rounding.
def _power32(x):
    shifted = x * F(1.4426950408889634) + F(12583039.0)  # 1.5 * 2**23 + 127
    n = shifted - F(12583039.0)
    r = (x - n * F(0.693359375)) + n * F(2.12194440e-4)
    p = F(0.0013814543) * r + F(0.008368748)
    p = p * r + F(0.041668393)
    p = p * r + F(0.1666652)
    p = p * r + F(0.49999994)
    p = (p * r + F(1.0)) * r
    return np.int32(np.float32(shifted).view(np.int32) << np.int32(23)).view(F), p


def _power64(x):
    shifted = x * 1.4426950408889634 + 6755399441056767.0  # 1.5 * 2**52 + 1023
    n = shifted - 6755399441056767.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10  # the first with 33 bits
    p = (1 / 6227020800) * r + (1 / 479001600)
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    p = (p * r + 1.0) * r
    return np.int64(np.float64(shifted).view(np.int64) << np.int64(52)).view(np.float64), p


def _parts32(x):
    small = x < F(-87.0)
    power, p = _exponents(F(-87.0) if small else x)
    return F(0.0) if small else p * power + power, p * power + (power - F(1.0))


def _parts64(x):
    small = x < -708.0
    power, p = _exponents(-708.0 if small else x)
    return 0.0 if small else p * power + power, p * power + (power - 1.0)


def _any32(x):
    power, p = _exponents(F(-87.0) if x < F(-87.0) else x)
    return F(np.inf) if x > F(88.0) else p * power + power


def _any64(x):
    power, p = _exponents(-708.0 if x < -708.0 else x)
    return np.inf if x > 709.0 else p * power + power


def _log1p32(x):
    s = x / (x + F(2.0))  # log(1 + x) = 2 artanh(s), s within [0, 1/3]
    t = s * s
    p = F(2 / 15) * t + F(2 / 13)
    p = p * t + F(2 / 11)
    p = p * t + F(2 / 9)
    p = p * t + F(2 / 7)
    p = p * t + F(2 / 5)
    p = p * t + F(2 / 3)
    return s * (p * t + F(2.0))


def _log32(x):
    bits = np.float32(x).view(np.int32)
    part = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(F)  # within [1, 2)
    n = F((bits >> np.int32(23)) - np.int32(127))
    value = n * F(0.6931471805599453) + log1p_unit(part - F(1.0))
    return value if n < F(128.0) else x  # infinity and NaN


@overload(exp_down, jit_options=INLINE)
def _exp_down(x):
    return _exp32 if x == float32 else lambda x: math.exp(x)


@overload(exp_parts, jit_options=INLINE)
def _exp_parts(x):
    return _parts32 if x == float32 else _parts64


def _exponents(x):
    """2**n and exp(r) - 1, for n whole and r small with x = n log 2 + r."""


@overload(_exponents, jit_options=INLINE)
def _exponents_of(x):
    return _power32 if x == float32 else _power64


@overload(exp_any, jit_options=INLINE)
def _exp_any(x):
    return _any32 if x == float32 else _any64


@overload(log1p_unit, jit_options=INLINE)
def _log1p_unit(x):
    return _log1p32 if x == float32 else lambda x: math.log1p(x)


@overload(log_up, jit_options=INLINE)
def _log_up(x):
    return _log32 if x == float32 else lambda x: math.log(x)


# ---- maxima --------------------------------------------------------------------------------------------------------
# Floats compare as the integers of their bits do, with the bits of negative ones flipped; and maxima of integers are
# vectorised, where those of floats are not.
def largest(x):
    """The greatest of the floats whose memory is given as signed integers; with a NaN among them any of them, or NaN."""
    return x.view(np.float32 if x.dtype == np.int32 else np.float64).max()


def _largest32(x):
    sign, rest, most = np.int32(31), np.int32(0x7FFFFFFF), np.int32(-(2**31))
    for i in range(x.shape[0]):
        most = max(most, np.int32(x[i] ^ ((x[i] >> sign) & rest)))
    return np.int32(most ^ ((most >> sign) & rest)).view(np.float32)


def _largest64(x):
    sign, rest, most = np.int64(63), np.int64(2**63 - 1), np.int64(-(2**63))
    for i in range(x.shape[0]):
        most = max(most, np.int64(x[i] ^ ((x[i] >> sign) & rest)))
    return np.int64(most ^ ((most >> sign) & rest)).view(np.float64)


@overload(largest, jit_options={"forceinline": True})
def _largest(x):
    return _largest32 if x.dtype == int32 else _largest64
