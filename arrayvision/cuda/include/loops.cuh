// The shape of loops: a thread's number in a launch, and its division into indices; in 32 bits where sizes allow, for which
// cuda/loops.py decides and kernels have two instantiations.
#pragma once
#include "channels.cuh"

namespace loops {

// The thread's number among all of a launch.
template <class Index> __device__ inline Index thread() { return Index(blockIdx.x) * blockDim.x + threadIdx.x; }
template <class Index> __device__ inline Index threads() { return Index(gridDim.x) * blockDim.x; }

// Division by a number that is known at launch (loops.divider).
template <class Index> struct FastDivider;

// Of numbers below 2**31, by a multiplication: n / d = (n * magic / 2**32 + n) / 2**shift, for shift = ceil(log2(d)) and
// magic = 2**32 * (2**shift - d) / d + 1; Granlund and Montgomery, Division by Invariant Integers using Multiplication, 1994.
template <> struct FastDivider<uint32_t> {
  uint32_t divisor, magic;
  int shift;
  __device__ explicit FastDivider(uint64_t packed)
      : divisor(uint32_t(packed)), magic(uint32_t(packed >> 32)), shift(32 - __clz(int(divisor - 1))) {}
  __device__ uint32_t quotient(uint32_t n) const { return (uint32_t(uint64_t(n) * magic >> 32) + n) >> shift; }
};

template <> struct FastDivider<int64_t> {
  int64_t divisor;
  __device__ explicit FastDivider(uint64_t packed) : divisor(int64_t(packed)) {}
  __device__ int64_t quotient(int64_t n) const { return n / divisor; }
};

// The elements that a thread of an elementwise kernel has: 16 bytes of them, which it loads and stores at once where all arrays
// begin at multiples of 16 bytes (types.aligned), but for the last ones.
template <class T, class Index> struct Run {
  static constexpr int most = 16 / int(sizeof(T));
  Index start;
  int count;  // 0 for threads behind the last element
  bool whole;

  __device__ Run(Index n, bool aligned, Index thread)
      : start(thread * most), count(start < n ? int(min(n - start, Index(most))) : 0), whole(aligned && count == most) {}

  __device__ Channels<T, most> load(const T* x) const {
    Channels<T, most> run;
    if (whole) return *reinterpret_cast<const Channels<T, most>*>(x + start);
#pragma unroll
    for (int k = 0; k < most; ++k) run.at[k] = k < count ? x[start + k] : T(acc_t<T>(0));
    return run;
  }
  __device__ void store(T* out, const Channels<T, most>& run) const {
    if (whole) {
      *reinterpret_cast<Channels<T, most>*>(out + start) = run;
      return;
    }
#pragma unroll
    for (int k = 0; k < most; ++k)
      if (k < count) out[start + k] = run.at[k];
  }
};

// The remainder; n becomes the quotient. `i = split(n, by_columns)` leaves the row in n.
template <class Index> __device__ inline Index split(Index& n, const FastDivider<Index>& by) {
  const Index quotient = by.quotient(n), rest = n - quotient * by.divisor;
  n = quotient;
  return rest;
}

}  // namespace loops
