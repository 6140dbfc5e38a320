// Shifts of groups of channels along time: a thread V elements that lie together, whose neighbours are its neighbours' in memory.
#include "channels.cuh"
#include "loops.cuh"

// x and out are arrays of such V: (clips, frames, groups, size).
template <class T, int V, class Index>
__global__ void __launch_bounds__(256) copy_groups(Index n, int64_t frames, uint64_t by_size, uint64_t by_groups, uint64_t by_frames, const T* x, const int64_t* shifts, T* out) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> size(by_size), groups(by_groups);
  Index clip = size.quotient(e);
  const Index g = loops::split(clip, groups);
  const int64_t t = loops::split(clip, loops::FastDivider<Index>(by_frames)), s = shifts[clip * groups.divisor + g];
  const bool inside = s <= t && s > t - frames;  // compared so that no subtraction can overflow
  Channels<T, V> values;
  for (int k = 0; k < V; ++k) values.at[k] = T(acc_t<T>(0));
  if (inside) values = reinterpret_cast<const Channels<T, V>*>(x)[int64_t(e) - s * int64_t(groups.divisor) * int64_t(size.divisor)];
  reinterpret_cast<Channels<T, V>*>(out)[e] = values;
}
