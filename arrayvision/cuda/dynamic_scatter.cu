// dynamic_scatter: a thread for each channel of each voxel, which goes through the voxel's points in their order.
#include "prelude.cuh"
#include "keys.cuh"

constexpr int PART = 64;  // points whose sum is made first, so that many points lose no digits

template <class T>
__global__ void __launch_bounds__(256) add(int64_t n, int64_t channels, const T* feats, const int64_t* order, const int* starts, const int* lengths, bool mean, T* out) {
  using A = acc_t<T>;
  for (int64_t e = first(); e < n * channels; e += stride()) {
    const int64_t v = e / channels, c = e % channels;
    const int64_t* points = order + starts[v];
    const int length = lengths[v];
    A total = 0;
    for (int top = 0; top < length; top += PART) {
      A part = 0;
      const int stop = length - top < PART ? length : top + PART;
      for (int k = top; k < stop; ++k) part += A(feats[points[k] * channels + c]);
      total += part;
    }
    out[e] = T(mean ? total / A(length) : total);
  }
}

template <class T>
__global__ void __launch_bounds__(256) choose(int64_t n, int64_t channels, const T* feats, const int64_t* order, const int* starts, const int* lengths, T* out, int* argmax) {
  using A = acc_t<T>;
  for (int64_t e = first(); e < n * channels; e += stride()) {
    const int64_t v = e / channels, c = e % channels;
    const int64_t* points = order + starts[v];
    int64_t which = points[0];
    A best = A(feats[which * channels + c]);
    for (int k = 1; k < lengths[v]; ++k) {
      const A value = A(feats[points[k] * channels + c]);
      if (value > best || (value != value && best == best)) best = value, which = points[k];  // a NaN is above all
    }
    out[e] = T(best);
    argmax[e] = int(which);
  }
}

template <class I>
__global__ void __launch_bounds__(256) take_coors(int64_t n, int columns, const I* coors, const int64_t* order, const int* starts, I* out) {
  for (int64_t e = first(); e < n * columns; e += stride())
    out[e] = coors[order[starts[e / columns]] * columns + e % columns];
}

template <class T>
__global__ void __launch_bounds__(256) spread_rows(int64_t n, int64_t channels, int64_t rows, const T* grad, const int* voxels, const int* counts, bool mean, T* out) {
  using A = acc_t<T>;
  for (int64_t e = first(); e < n * channels; e += stride()) {
    const int64_t v = voxels[e / channels];
    A value = 0;
    if (v >= 0 && v < rows) {
      value = A(grad[v * channels + e % channels]);
      if (mean) value /= A(counts[v]);
    }
    out[e] = T(value);
  }
}

template <class T>
__global__ void __launch_bounds__(256) spread_chosen(int64_t n, int64_t channels, int64_t points, const T* grad, const int* argmax, T* out) {
  for (int64_t e = first(); e < n * channels; e += stride()) {
    const int64_t i = argmax[e];
    if (i >= 0 && i < points) out[i * channels + e % channels] = grad[e];  // a point is of one voxel
  }
}
