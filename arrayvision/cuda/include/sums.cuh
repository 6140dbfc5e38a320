// Gradients that several threads add to: in the storage type's accumulator, and then rounded to storage (cuda/sums.py).
#pragma once
#include "prelude.cuh"

namespace sums {

// Adds to a number. `in_order`: no other thread of this launch touches it, and its terms come in a fixed order.
template <class A> __device__ inline void add(A* target, A value, bool in_order) {
  if (in_order) *target += value;
  else atomicAdd(target, value);
}

}  // namespace sums

template <class T> __global__ void __launch_bounds__(256) round_sums(int64_t n, const acc_t<T>* sums, T* out) {
  for (int64_t t = first(); t < n; t += stride()) out[t] = T(sums[t]);
}
