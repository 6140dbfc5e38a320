// The three nearest points of each point; weighted sums of three features, and their gradient.
#include "nearest.cuh"
#include "sums.cuh"

constexpr int BLOCK = 256;  // threads of a search, and points of a tile
constexpr int CHANNELS = 8;  // of a thread

// A thread a target or a few, sources in tiles in shared memory.
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

// A thread a point and CHANNELS channels, whose indices and weights it reads once. Neighbouring threads hold neighbouring points.
template <class T> __global__ void __launch_bounds__(256) sums_of_three(int64_t count, int64_t groups, int channels, int size, const T* features, const int* indices, const acc_t<T>* weight, T* out) {
  using A = acc_t<T>;
  const int64_t point = first(), per_cloud = (channels + CHANNELS - 1) / CHANNELS;
  if (point >= count) return;
  for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const int64_t cloud = group / per_cloud, c = group % per_cloud * CHANNELS, at = (cloud * count + point) * 3;
    for (int64_t row = cloud * channels + c, end = cloud * channels + min(c + CHANNELS, int64_t(channels)); row < end; ++row) {
      A sum = 0;
      for (int k = 0; k < 3; ++k) {
        const int index = indices[at + k];
        if (unsigned(index) < unsigned(size)) sum += weight[at + k] * A(features[row * size + index]);
      }
      out[row * count + point] = T(sum);
    }
  }
}

template <class T> __global__ void __launch_bounds__(256) spread_three(int64_t count, int64_t groups, int channels, int size, const T* grad, const int* indices, const acc_t<T>* weight, acc_t<T>* out) {
  const int64_t point = first(), per_cloud = (channels + CHANNELS - 1) / CHANNELS;
  if (point >= count) return;
  for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const int64_t cloud = group / per_cloud, c = group % per_cloud * CHANNELS, at = (cloud * count + point) * 3;
    for (int64_t row = cloud * channels + c, end = cloud * channels + min(c + CHANNELS, int64_t(channels)); row < end; ++row) {
      const acc_t<T> g = acc_t<T>(grad[row * count + point]);
      for (int k = 0; k < 3; ++k) {
        const int index = indices[at + k];
        if (unsigned(index) < unsigned(size)) sums::add(out + row * size + index, weight[at + k] * g, false);
      }
    }
  }
}

// The same in a fixed order: a thread holds a cloud's channel and goes through all points. Slow, the same in every run.
template <class T> __global__ void __launch_bounds__(256) spread_in_order(int64_t rows, int64_t count, int channels, int size, const T* grad, const int* indices, const acc_t<T>* weight, acc_t<T>* out) {
  for (int64_t row = first(); row < rows; row += stride())
    for (int64_t e = 0; e < count * 3; ++e) {
      const int64_t at = row / channels * count * 3 + e;
      const int index = indices[at];
      if (unsigned(index) < unsigned(size)) sums::add(out + row * size + index, weight[at] * acc_t<T>(grad[row * count + e / 3]), true);
    }
}
