// Which points lie inside which quadrilaterals: cpu/points_in_polygons.py. Floats decide unless a point is almost on a side.
#include "not_inline.cuh"
#include "prelude.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 64;  // of the first set, that a block holds in shared memory at a time

// The same in floats: 1 or 0, and -1 where the rounding of a product could change a side. Differences of floats and their products
// have errors of 3 halves of 2**-23 of the products' magnitudes; J. R. Shewchuk, "Adaptive precision floating-point arithmetic and
// fast robust geometric predicates", 1997.
__device__ inline int roughly_inside(const float* corner, float x, float y) {
  bool odd = false;
  for (int a = 0; a < 8; a += 2) {
    const int b = (a + 2) % 8;
    const float ax = corner[a], ay = corner[a + 1], bx = corner[b], by = corner[b + 1];
    const float left = (bx - ax) * (y - ay), right = (by - ay) * (x - ax), side = left - right;
    if (!(fabsf(side) > 2e-7f * (fabsf(left) + fabsf(right)) + 1e-37f)) return -1;
    if ((ay > y) != (by > y) && (side > 0) == (by > ay)) odd = !odd;
  }
  return odd;
}

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

template <class T> NOT_INLINE bool exactly_inside(const T* polygon, double x, double y) {
  double corner[8];
  for (int k = 0; k < 8; ++k) corner[k] = double(acc_t<T>(polygon[k]));
  return inside(corner, x, y);
}

template <class T> __global__ void __launch_bounds__(BLOCK, sizeof(T) == 8 ? 5 : 8) all_pairs(int64_t n, int64_t m, const T* points, const T* polygons, T* out) {
  using A = acc_t<T>;
  __shared__ A px[ROWS], py[ROWS];
  const int64_t j = first();
  A corner[8] = {}, left = INFINITY, right = -INFINITY, low = INFINITY, high = -INFINITY, total = 0;
  if (j < m)
    for (int k = 0; k < 8; k += 2) {
      corner[k] = A(polygons[8 * j + k]);
      corner[k + 1] = A(polygons[8 * j + k + 1]);
      total += (corner[k] - corner[k]) + (corner[k + 1] - corner[k + 1]);
      left = min(left, corner[k]), right = max(right, corner[k]);
      low = min(low, corner[k + 1]), high = max(high, corner[k + 1]);
    }
  if (!(total == 0)) right = -INFINITY;  // nothing is inside one that isn't finite
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < n; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(n - top < ROWS ? n - top : ROWS);
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      px[i] = A(points[2 * (top + i)]);
      py[i] = A(points[2 * (top + i) + 1]);
    }
    __syncthreads();
    if (j < m)
      for (int i = 0; i < rows; ++i) {
        const A x = px[i], y = py[i];
        int found = left < x && x < right && low < y && y < high;
        if constexpr (sizeof(A) == sizeof(double)) {
          if (found) found = inside(corner, x, y);
        } else {
          if (found) found = roughly_inside(corner, x, y);
          if (found < 0) found = exactly_inside(polygons + 8 * j, double(x), double(y));
        }
        out[(top + i) * m + j] = T(A(found));
      }
    __syncthreads();  // before the next strip takes the points' place
  }
}
