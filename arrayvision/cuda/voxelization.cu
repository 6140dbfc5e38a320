// voxelization: a key for each point, and then a thread for each value of the voxels.
#include "prelude.cuh"
#include "keys.cuh"
#include "loops.cuh"

// The cell of a coordinate on an axis; -1 outside, and for NaN.
template <class A> __device__ inline int64_t along(A p, A low, A size, int64_t cells) {
  const A c = floor((p - low) / size);
  if (!(c >= A(0) && c < A(2147483648.0))) return -1;
  return int64_t(c) < cells ? int64_t(c) : -1;
}

template <class A> struct Grid {
  A low[3], size[3];
  int64_t cells[3];
  template <class T> __device__ bool find(const T* point, int64_t* xyz) const {
    bool inside = true;
    for (int k = 0; k < 3; ++k) {
      xyz[k] = along(A(point[k]), low[k], size[k], cells[k]);
      inside = inside && xyz[k] >= 0;
    }
    return inside;
  }
};

template <class T, class K>
__global__ void __launch_bounds__(256) find_keys(int64_t n, int columns, const T* points, acc_t<T> x0, acc_t<T> y0, acc_t<T> z0, acc_t<T> dx, acc_t<T> dy, acc_t<T> dz, int64_t nx, int64_t ny, int64_t nz, K* keys) {
  const Grid<acc_t<T>> grid{{x0, y0, z0}, {dx, dy, dz}, {nx, ny, nz}};
  for (int64_t i = first(); i < n; i += stride()) {
    int64_t at[3];
    const bool inside = grid.find(points + i * columns, at);
    keys[i] = K(inside ? (at[2] * ny + at[1]) * nx + at[0] : nx * ny * nz);
  }
}

template <class T>
__global__ void __launch_bounds__(256) find_cells(int64_t n, int columns, const T* points, acc_t<T> x0, acc_t<T> y0, acc_t<T> z0, acc_t<T> dx, acc_t<T> dy, acc_t<T> dz, int64_t nx, int64_t ny, int64_t nz, int* coors) {
  const Grid<acc_t<T>> grid{{x0, y0, z0}, {dx, dy, dz}, {nx, ny, nz}};
  for (int64_t i = first(); i < n; i += stride()) {
    int64_t at[3];
    const bool inside = grid.find(points + i * columns, at);
    for (int k = 0; k < 3; ++k) coors[3 * i + k] = inside ? int(at[2 - k]) : -1;
  }
}

// voxels[v, s] = the s-th point of voxel v, zeros behind its last
template <class T, class Index>
__global__ void __launch_bounds__(256) gather(Index n, uint64_t by_columns, uint64_t by_slots, int columns, const T* points, const int64_t* order, const int* starts, const int* lengths, T* voxels) {
  Index v = loops::thread<Index>();
  if (v >= n) return;
  const Index e = v;
  const Index k = loops::split(v, loops::FastDivider<Index>(by_columns));
  const Index s = loops::split(v, loops::FastDivider<Index>(by_slots));
  voxels[e] = s < Index(lengths[v]) ? points[order[starts[v] + int64_t(s)] * columns + k] : T(acc_t<T>(0));
}

template <class T>
__global__ void __launch_bounds__(256) describe(int64_t n, int slots, int columns, const T* points, acc_t<T> x0, acc_t<T> y0, acc_t<T> z0, acc_t<T> dx, acc_t<T> dy, acc_t<T> dz, int64_t nx, int64_t ny, int64_t nz, const int64_t* order, const int* starts, const int* lengths, int* coors, int* counts) {
  const Grid<acc_t<T>> grid{{x0, y0, z0}, {dx, dy, dz}, {nx, ny, nz}};
  for (int64_t v = first(); v < n; v += stride()) {
    int64_t at[3];
    grid.find(points + order[starts[v]] * columns, at);
    for (int k = 0; k < 3; ++k) coors[3 * v + k] = int(at[2 - k]);
    counts[v] = lengths[v] < slots ? lengths[v] : slots;
  }
}
