// roipoint_pool3d: the points in boxes are listed; a thread then copies a number.
#include "prelude.cuh"
#include "box_members.cuh"
#include "loops.cuh"

template <class T, class Index>
__global__ void __launch_bounds__(256) sample(Index n, uint64_t by_width, uint64_t by_sampled, uint64_t by_boxes, int channels, int64_t points, const T* coordinates, const T* feats, const int* members, const int* counts, const int64_t* ends, T* out) {
  Index b = loops::thread<Index>();
  if (b >= n) return;
  const Index at = b;
  const int k = int(loops::split(b, loops::FastDivider<Index>(by_width)));
  const Index s = loops::split(b, loops::FastDivider<Index>(by_sampled));
  const int count = counts[b];
  if (count == 0) {
    out[at] = T(acc_t<T>(0));
    return;
  }
  const int64_t example = loops::FastDivider<Index>(by_boxes).quotient(b);
  const int64_t i = example * points + members[ends[b] - count + int64_t(s) % count];
  out[at] = k < 3 ? coordinates[3 * i + k] : feats[i * channels + (k - 3)];
}

__global__ void __launch_bounds__(256) mark_empty(int64_t n, const int* counts, int* empty) {
  for (int64_t b = first(); b < n; b += stride()) empty[b] = counts[b] == 0;
}
