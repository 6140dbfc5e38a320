// Shifts of groups of channels along time: a thread an element, whose neighbours are its neighbours' in memory.
#include "prelude.cuh"

template <class T>
__global__ void __launch_bounds__(256) copy_groups(int64_t n, int64_t frames, int64_t groups, int64_t size, const T* x, const int64_t* shifts, T* out) {
  const int64_t e = first();
  if (e >= n) return;
  const int64_t row = e / size, clip = row / (frames * groups), t = row / groups % frames, g = row % groups;
  const int64_t s = shifts[clip * groups + g];
  const bool inside = s <= t && s > t - frames;  // compared so that no subtraction can overflow
  out[e] = inside ? x[e - s * groups * size] : T(acc_t<T>(0));
}
