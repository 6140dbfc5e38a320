// Weighted sums of three features, and their gradient: a thread a point and CHANNELS channels, whose indices and weights it
// reads once. Neighbouring threads hold neighbouring points.
#include "sums.cuh"

constexpr int CHANNELS = 8;  // of a thread

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
  using A = acc_t<T>;
  const int64_t point = first(), per_cloud = (channels + CHANNELS - 1) / CHANNELS;
  if (point >= count) return;
  for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const int64_t cloud = group / per_cloud, c = group % per_cloud * CHANNELS, at = (cloud * count + point) * 3;
    for (int64_t row = cloud * channels + c, end = cloud * channels + min(c + CHANNELS, int64_t(channels)); row < end; ++row) {
      const A g = A(grad[row * count + point]);
      for (int k = 0; k < 3; ++k) {
        const int index = indices[at + k];
        if (unsigned(index) < unsigned(size)) sums::add(out + row * size + index, weight[at + k] * g, false);
      }
    }
  }
}

// The same in a fixed order: a thread holds a cloud's channel and goes through all points. Slow, the same in every run.
template <class T> __global__ void __launch_bounds__(256) spread_in_order(int64_t rows, int64_t count, int channels, int size, const T* grad, const int* indices, const acc_t<T>* weight, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t row = first(); row < rows; row += stride())
    for (int64_t e = 0; e < count * 3; ++e) {
      const int64_t at = row / channels * count * 3 + e;
      const int index = indices[at];
      if (unsigned(index) < unsigned(size)) sums::add(out + row * size + index, weight[at] * A(grad[row * count + e / 3]), true);
    }
}
