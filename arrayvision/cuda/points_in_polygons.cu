// Which points lie inside which quadrilaterals: cpu/points_in_polygons.py.
#include "prelude.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 64;  // of the first set, that a block holds in shared memory at a time

__device__ inline bool inside(const double* corner, double x, double y) {
  bool odd = false;
  for (int a = 0; a < 8; a += 2) {
    const int b = (a + 2) % 8;
    const double ax = corner[a], ay = corner[a + 1], bx = corner[b], by = corner[b + 1];
    const double side = (bx - ax) * (y - ay) - (by - ay) * (x - ax);
    if (side == 0 && fmin(ax, bx) <= x && x <= fmax(ax, bx) && fmin(ay, by) <= y && y <= fmax(ay, by)) return false;
    if ((ay > y) != (by > y) && (side > 0) == (by > ay)) odd = !odd;
  }
  return odd;
}

template <class T> __global__ void __launch_bounds__(BLOCK) all_pairs(int64_t n, int64_t m, const T* points, const T* polygons, T* out) {
  __shared__ double px[ROWS], py[ROWS];
  const int64_t j = first();
  double corner[8], left = INFINITY, right = -INFINITY, low = INFINITY, high = -INFINITY, total = 0;
  if (j < m)
    for (int k = 0; k < 8; k += 2) {
      corner[k] = double(acc_t<T>(polygons[8 * j + k]));
      corner[k + 1] = double(acc_t<T>(polygons[8 * j + k + 1]));
      total += (corner[k] - corner[k]) + (corner[k + 1] - corner[k + 1]);
      left = fmin(left, corner[k]), right = fmax(right, corner[k]);
      low = fmin(low, corner[k + 1]), high = fmax(high, corner[k + 1]);
    }
  if (!(total == 0)) right = -INFINITY;  // nothing is inside one that isn't finite
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < n; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(n - top < ROWS ? n - top : ROWS);
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      px[i] = double(acc_t<T>(points[2 * (top + i)]));
      py[i] = double(acc_t<T>(points[2 * (top + i) + 1]));
    }
    __syncthreads();
    if (j < m)
      for (int i = 0; i < rows; ++i) {
        const double x = px[i], y = py[i];
        const bool near = left < x && x < right && low < y && y < high;
        out[(top + i) * m + j] = T(acc_t<T>(near && inside(corner, x, y) ? 1 : 0));
      }
    __syncthreads();  // before the next strip takes the points' place
  }
}
