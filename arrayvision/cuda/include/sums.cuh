// Gradients that several threads add to: in the storage type's accumulator, and then rounded to storage (cuda/sums.py).
#pragma once
#include "prelude.cuh"

namespace sums {

// Adds to a number. `in_order`: no other thread of this launch touches it, and its terms come in a fixed order.
template <class A> __device__ inline void add(A* target, A value, bool in_order) {
  if (in_order) *target += value;
  else atomicAdd(target, value);
}

// Whether 4 floats can be added by one access of memory.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr bool FOURS = true;
#else
constexpr bool FOURS = false;
#endif

// Adds to numbers that lie together, by atomics; where V is a multiple of 4, the first is at a multiple of 16 bytes.
template <int V, class A> __device__ inline void add_together(A* target, const A (&values)[V]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if constexpr (V % 4 == 0 && sizeof(A) == 4) {
#pragma unroll
    for (int c = 0; c < V; c += 4)
      asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(target + c), "f"(values[c]), "f"(values[c + 1]),
                   "f"(values[c + 2]), "f"(values[c + 3])
                   : "memory");
    return;
  }
#endif
#pragma unroll
  for (int c = 0; c < V; ++c) atomicAdd(target + c, values[c]);
}

}  // namespace sums

template <class T> __global__ void __launch_bounds__(256) round_sums(int64_t n, const acc_t<T>* sums, T* out) {
  for (int64_t t = first(); t < n; t += stride()) out[t] = T(sums[t]);
}
