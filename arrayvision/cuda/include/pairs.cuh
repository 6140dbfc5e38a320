// Numbers as sums of two floats, which have 48 bits, for cards whose doubles are slow (a 64th of the speed of floats).
//
// T. J. Dekker, "A floating-point technique for extending the available precision", 1971; the error of a product by a fused
// multiplication and addition. A sum's error is a 2**-46th of its larger summand, not of itself, which is all that areas need:
// they are sums of terms no larger than the boxes. Magnitudes must lie within 1e-30 and 1e30, or be 0.
#pragma once
#include "prelude.cuh"

namespace pairs {

struct Pair {
  float high, low;  // low: at most half a unit in the last place of high
  Pair() = default;
  __device__ Pair(double x) : high(float(x)), low(float(x - double(float(x)))) {}
  __device__ Pair(float high, float low) : high(high), low(low) {}
  __device__ explicit operator double() const { return double(high) + double(low); }
};

template <class R> constexpr bool is_pair = false;
template <> constexpr bool is_pair<Pair> = true;

// The nearest number of a type that a Pair isn't one of.
template <class A> __device__ inline A nearest(double x) { return A(x); }
template <class A> __device__ inline A nearest(Pair x) { return A(x.high); }

// high + low as a Pair, where high is 0 or no smaller.
__device__ inline Pair joined(float high, float low) {
  const float sum = high + low;
  return {sum, low - (sum - high)};
}

__device__ inline Pair operator-(Pair a) { return {-a.high, -a.low}; }
__device__ inline Pair operator+(Pair a, Pair b) {
  const float sum = a.high + b.high, part = sum - a.high;
  const float error = (a.high - (sum - part)) + (b.high - part);
  return joined(sum, error + (a.low + b.low));
}
__device__ inline Pair operator-(Pair a, Pair b) { return a + -b; }
__device__ inline Pair operator*(Pair a, Pair b) {
  const float product = __fmul_rn(a.high, b.high), error = fmaf(a.high, b.high, -product);
  return joined(product, fmaf(a.high, b.low, fmaf(a.low, b.high, error)));
}
__device__ inline Pair operator/(Pair a, Pair b) {
  const float inverse = 1.0f / b.high, quotient = __fmul_rn(a.high, inverse);
  const float rest = fmaf(-quotient, b.low, fmaf(-quotient, b.high, a.high) + a.low);
  return joined(quotient, __fmul_rn(rest, inverse));
}

__device__ inline bool operator<(Pair a, Pair b) { return a.high < b.high || (a.high == b.high && a.low < b.low); }
__device__ inline bool operator>(Pair a, Pair b) { return b < a; }
__device__ inline bool operator<=(Pair a, Pair b) { return a.high < b.high || (a.high == b.high && a.low <= b.low); }
__device__ inline bool operator>=(Pair a, Pair b) { return b <= a; }
__device__ inline bool operator==(Pair a, Pair b) { return a.high == b.high && a.low == b.low; }
__device__ inline bool operator!=(Pair a, Pair b) { return !(a == b); }

__device__ inline Pair fmin(Pair a, Pair b) { return b < a ? b : a; }
__device__ inline Pair fmax(Pair a, Pair b) { return a < b ? b : a; }
__device__ inline Pair fabs(Pair a) { return a.high < 0 ? -a : a; }

}  // namespace pairs
