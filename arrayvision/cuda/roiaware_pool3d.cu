// roiaware_pool3d: the points in boxes are listed and sorted by cell; a thread then reduces a channel of a cell.
#include "prelude.cuh"
#include "box_members.cuh"
#include "keys.cuh"
#include "sums.cuh"

__device__ inline int64_t cell_along(double distance, double size, int cells) {
  const double c = floor(distance / (size / cells));
  if (!(c > 0)) return 0;  // also of a box without a height
  return c < cells ? int64_t(c) : cells - 1;
}

// keys[e] = the cell, counted through all boxes, in which members[e] is
__global__ void __launch_bounds__(256) find_cells(int64_t n, int nx, int ny, int nz, const double* boxes, const double* xyz, const int* owners, const int* members, int64_t* keys) {
  for (int64_t e = first(); e < n; e += stride()) {
    const int64_t b = owners[e];
    const boxes3d::Frame box(boxes + 7 * b);
    const double* const point = xyz + 3 * int64_t(members[e]);
    const int64_t cx = cell_along(box.along(point) + box.hx, 2 * box.hx, nx);
    const int64_t cy = cell_along(box.across(point) + box.hy, 2 * box.hy, ny);
    const int64_t cz = cell_along(point[2] - box.z, 2 * box.hz, nz);
    keys[e] = ((b * nx + cx) * ny + cy) * nz + cz;
  }
}

// The channels of each cell that has points: run r of `order`. Other cells are 0 already.
template <class T>
__global__ void __launch_bounds__(256) pool(int64_t runs, int64_t channels, int most, bool mean, const T* feats, const int* members, const int64_t* keys, const int64_t* order, const int* starts, const int* lengths, T* out, int* counts, int* argmax) {
  using A = acc_t<T>;
  for (int64_t e = first(); e < runs * channels; e += stride()) {
    const int64_t r = e / channels, c = e % channels;
    const int64_t* const own = order + starts[r];
    const int64_t cell = keys[own[0]];
    const int count = lengths[r] < most ? lengths[r] : most;
    int which = members[own[0]];
    A value = A(feats[which * channels + c]);
    for (int k = 1; k < count; ++k) {
      const int i = members[own[k]];
      const A next = A(feats[i * channels + c]);
      if (mean) value += next;
      else if (next > value || (next != next && value == value)) value = next, which = i;  // a NaN is above all
    }
    out[cell * channels + c] = T(mean ? value / A(count) : value);
    if (!mean) argmax[cell * channels + c] = which;
    if (c == 0) counts[cell] = count;
  }
}

// argmax of cells without points
__global__ void __launch_bounds__(256) fill_none(int64_t n, int* argmax) {
  for (int64_t e = first(); e < n; e += stride()) argmax[e] = -1;
}

// The gradient for the features: a thread has a number of the result's gradient or, `in_order`, a channel's.
template <class T>
__global__ void __launch_bounds__(256) spread_chosen(int64_t n, int64_t cells, int64_t channels, int64_t points, bool in_order, const T* grad, const int* argmax, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t c = t % channels, begin = in_order ? 0 : t / channels, end = in_order ? cells : begin + 1;
    for (int64_t cell = begin; cell < end; ++cell) {
      const int64_t i = argmax[cell * channels + c];
      if (i >= 0 && i < points) sums::add(out + i * channels + c, A(grad[cell * channels + c]), in_order);
    }
  }
}

// The same of means: a thread has a channel of a cell's run or, `in_order`, of all.
template <class T>
__global__ void __launch_bounds__(256) spread(int64_t n, int64_t runs, int64_t channels, int most, bool in_order, const T* grad, const int* members, const int64_t* keys, const int64_t* order, const int* starts, const int* lengths, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t c = t % channels, begin = in_order ? 0 : t / channels, end = in_order ? runs : begin + 1;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t* const own = order + starts[r];
      const int count = lengths[r] < most ? lengths[r] : most;
      const A part = A(grad[keys[own[0]] * channels + c]) / A(count);
      for (int k = 0; k < count; ++k) sums::add(out + members[own[k]] * channels + c, part, in_order);
    }
  }
}
