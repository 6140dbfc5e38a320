// Shifts of groups of channels along time: a thread an element, whose neighbours are its neighbours' in memory.
#include "loops.cuh"

template <class T, class Index>
__global__ void __launch_bounds__(256) copy_groups(Index n, int64_t frames, uint64_t by_size, uint64_t by_groups, uint64_t by_frames, const T* x, const int64_t* shifts, T* out) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> size(by_size), groups(by_groups);
  Index clip = size.quotient(e);
  const Index g = loops::split(clip, groups);
  const int64_t t = loops::split(clip, loops::FastDivider<Index>(by_frames)), s = shifts[clip * groups.divisor + g];
  const bool inside = s <= t && s > t - frames;  // compared so that no subtraction can overflow
  out[e] = inside ? x[int64_t(e) - s * int64_t(groups.divisor) * int64_t(size.divisor)] : T(acc_t<T>(0));
}
