// Features of chosen points, and their gradients: a thread an index and CHANNELS channels. Neighbouring threads hold neighbouring
// indices. What an index out of range names is 0.
#include "stacked.cuh"
#include "sums.cuh"

constexpr int CHANNELS = 8;  // of a thread

// features (clouds, channels, size), out (clouds, channels, count).
template <class T> __global__ void __launch_bounds__(256) gather(int64_t count, int64_t groups, int channels, int size, const T* features, const int* indices, T* out) {
  const int64_t point = first(), per_cloud = (channels + CHANNELS - 1) / CHANNELS;
  if (point >= count) return;
  for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const int64_t cloud = group / per_cloud, c = group % per_cloud * CHANNELS;
    const int index = indices[cloud * count + point];
    const bool inside = unsigned(index) < unsigned(size);
    for (int64_t row = cloud * channels + c, end = cloud * channels + min(c + CHANNELS, int64_t(channels)); row < end; ++row)
      out[row * count + point] = inside ? features[row * size + index] : T(acc_t<T>(0));
  }
}

constexpr int STAGED = 512;  // threads of a block

// The same of many indices: a block takes a cloud's channel into shared memory, where an index costs no sector of 32 bytes, and has
// `some` of the indices. `rows` are all clouds' channels.
template <class T> __global__ void __launch_bounds__(STAGED) gather_staged(int64_t rows, int64_t count, int64_t some, int channels, int size, const T* features, const int* indices, T* out) {
  DYNAMIC_SHARED(T, staged);
  const int64_t begin = blockIdx.x * some, end = min(begin + some, count);
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const T* const source = features + row * size;
    for (int i = threadIdx.x; i < size; i += STAGED) staged[i] = source[i];
    __syncthreads();
    const int* const its = indices + row / channels * count;
    T* const target = out + row * count;
    for (int64_t p = begin + threadIdx.x; p < end; p += STAGED) {
      const int index = its[p];
      target[p] = unsigned(index) < unsigned(size) ? staged[index] : T(acc_t<T>(0));
    }
    __syncthreads();  // before the next channel takes its place
  }
}

template <class T> __global__ void __launch_bounds__(256) scatter(int64_t count, int64_t groups, int channels, int size, const T* grad, const int* indices, acc_t<T>* out) {
  const int64_t point = first(), per_cloud = (channels + CHANNELS - 1) / CHANNELS;
  if (point >= count) return;
  for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const int64_t cloud = group / per_cloud, c = group % per_cloud * CHANNELS;
    const int index = indices[cloud * count + point];
    if (unsigned(index) >= unsigned(size)) continue;
    for (int64_t row = cloud * channels + c, end = cloud * channels + min(c + CHANNELS, int64_t(channels)); row < end; ++row)
      sums::add(out + row * size + index, acc_t<T>(grad[row * count + point]), false);
  }
}

// The same in a fixed order: a thread holds a cloud's channel and goes through all indices. Slow, the same in every run.
template <class T> __global__ void __launch_bounds__(256) scatter_in_order(int64_t rows, int64_t count, int channels, int size, const T* grad, const int* indices, acc_t<T>* out) {
  for (int64_t row = first(); row < rows; row += stride())
    for (int64_t i = 0; i < count; ++i) {
      const int index = indices[row / channels * count + i];
      if (unsigned(index) < unsigned(size)) sums::add(out + row * size + index, acc_t<T>(grad[row * count + i]), true);
    }
}

// Where a row of indices (rows, samples) of a stacked cloud points to: the row of features, -1 for none.
__device__ inline int64_t target_of(int64_t row, int index, int64_t clouds, int64_t all, int64_t all_rows, const int64_t* counts, const int64_t* index_counts) {
  stacked::Rows own;
  const int64_t cloud = stacked::cloud_of(row, clouds, all_rows, index_counts, own);
  if (cloud >= clouds) return -1;
  const stacked::Rows its = stacked::rows(cloud, clouds, all, true, counts);
  return index >= 0 && index < its.size ? its.start + index : -1;
}

// features (all, channels), out (all_rows, channels, samples): n is all_rows * samples.
template <class T> __global__ void __launch_bounds__(256) gather_rows(int64_t n, int64_t clouds, int64_t all, int64_t all_rows, int channels, int samples, const T* features, const int* indices, const int64_t* counts, const int64_t* index_counts, T* out) {
  const int64_t t = first();
  if (t >= n) return;
  const int64_t row = t / samples, target = target_of(row, indices[t], clouds, all, all_rows, counts, index_counts);
  for (int c = blockIdx.y * CHANNELS; c < channels; c += gridDim.y * CHANNELS)
    for (int k = c; k < min(c + CHANNELS, channels); ++k)
      out[(row * channels + k) * samples + t % samples] = target >= 0 ? features[target * channels + k] : T(acc_t<T>(0));
}

// The gradient of that: a thread an index; or, `in_order`, a thread a channel, which goes through all indices.
template <class T> __global__ void __launch_bounds__(256) scatter_rows(int64_t n, bool in_order, int64_t clouds, int64_t all, int64_t all_rows, int channels, int samples, const T* grad, const int* indices, const int64_t* counts, const int64_t* index_counts, acc_t<T>* out) {
  const int64_t t = first();
  if (t >= (in_order ? channels : n)) return;
  for (int64_t i = in_order ? 0 : t; i < (in_order ? n : t + 1); ++i) {
    const int64_t row = i / samples, target = target_of(row, indices[i], clouds, all, all_rows, counts, index_counts);
    if (target < 0) continue;
    for (int c = in_order ? int(t) : blockIdx.y * CHANNELS; c < (in_order ? int(t) + 1 : channels); c += gridDim.y * CHANNELS)
      for (int k = c; k < (in_order ? c + 1 : min(c + CHANNELS, channels)); ++k)
        sums::add(out + target * channels + k, acc_t<T>(grad[(row * channels + k) * samples + i % samples]), in_order);
  }
}
