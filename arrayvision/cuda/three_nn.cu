// The three nearest points of each point: a thread a target or a few, sources in tiles in shared memory.
#include "nearest.cuh"

constexpr int BLOCK = 256;  // threads, and points of a tile

template <class T> __global__ void __launch_bounds__(BLOCK) search(int64_t clouds, int64_t count, int points, int lanes, const T* target, const T* source, T* distances, int* indices) {
  using A = acc_t<T>;
  __shared__ A tile[BLOCK * 3];
  const int64_t row = first() / lanes;
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    const int64_t at = (cloud * count + row) * 3;
    A own[3] = {};
    if (row < count)
      for (int c = 0; c < 3; ++c) own[c] = A(target[at + c]);
    nearest::Best<A, 3> best;
    nearest::scan<BLOCK>(own, source + cloud * points * 3, points, lanes, tile, best);
    if (row < count && threadIdx.x % unsigned(lanes) == 0) {
      best.fill(points);
      for (int k = 0; k < 3; ++k) {
        distances[at + k] = T(sqrt(best.square[k]));
        indices[at + k] = best.index[k];
      }
    }
  }
}
