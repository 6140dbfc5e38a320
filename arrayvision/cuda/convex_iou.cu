// IoU and generalized IoU of the hulls of 9 points and quadrilaterals, and the latter's gradient: cpu/convex_iou.py.
#include "hulls.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 4;  // of the first set, that a block holds in shared memory at a time
constexpr double ALIKE = 1e-12;

// A row's hull in numbers R, and its axis-aligned one; `shape` is room for the one in doubles.
template <int MOST, class R, class T>
__device__ inline void load(const T* row, hulls::Hull<MOST>& shape, hulls::Hull<MOST, R>& found, polygons::Hull& hull) {
  if constexpr (pairs::is_pair<R>) {
    shape.load_row(row);
    hull.set(shape);
    found.set(shape);
  } else {
    found.load_row(row);
    hull.set(found);
  }
}

// Pairs whose axis-aligned hulls lie apart, as floats tell, touch neither doubles nor Pairs. Others are compared in numbers R, and in
// doubles where these are Pairs and don't tell.
template <class T, class R> __global__ void __launch_bounds__(BLOCK, 6) all_pairs(int64_t n, int64_t k, const T* pointsets, const T* polygons, T* out) {
  using RowHull = hulls::Hull<9, R>;
  __shared__ __align__(8) unsigned char memory[ROWS * sizeof(RowHull)];
  RowHull* const row = reinterpret_cast<RowHull*>(memory);
  const int64_t j = first();
  __shared__ polygons::Hull row_hull[ROWS];
  hulls::Hull<4, R> mine;
  polygons::Hull hull;
  hulls::Hull<9> exact_row;
  hulls::Hull<4> exact;
  if (j < k) load(polygons + 8 * j, exact, mine, hull);
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < n; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(n - top < ROWS ? n - top : ROWS);
    if (threadIdx.x < rows) load(pointsets + 18 * (top + threadIdx.x), exact_row, row[threadIdx.x], row_hull[threadIdx.x]);
    __syncthreads();
    if (j < k)
      for (int i = 0; i < rows; ++i) {
        acc_t<T> value = 0;
        if (!hull.apart(row_hull[i])) {
          const R none = 0.0, found = hulls::iou(row[i], mine);
          value = pairs::nearest<acc_t<T>>(found);
          if constexpr (pairs::is_pair<R>)
            if (!(row[i].area > none && mine.area > none && found >= none)) {
              exact_row.load_row(pointsets + 18 * (top + i));
              value = acc_t<T>(hulls::iou(exact_row, exact));
            }
        }
        out[(top + i) * k + j] = T(value);
      }
    __syncthreads();  // before the next strip takes the rows' place
  }
}

struct Part { double low, high; bool along; };

// The part of the edge from a to b within a hull, in fractions of it; and whether it lies on an edge of that.
__device__ inline Part inside(hulls::Point a, hulls::Point b, const hulls::Point* corners, const int* chosen, int count, double alike) {
  Part part = {0, 1, false};
  for (int k = 0; k < count; ++k) {
    const hulls::Point c = corners[chosen[k]], d = corners[chosen[k + 1 < count ? k + 1 : 0]];
    const double ex = d.x - c.x, ey = d.y - c.y;
    const double fa = ex * (a.y - c.y) - ey * (a.x - c.x), fb = ex * (b.y - c.y) - ey * (b.x - c.x);
    const double least = alike * (fabs(ex) + fabs(ey));
    if (fabs(fa) <= least && fabs(fb) <= least) {
      if (ex * (b.x - a.x) + ey * (b.y - a.y) < 0) return {0, 0, false};  // they touch from outside
      part.along = true;
    } else if (fa <= 0 && fb <= 0) {
      return {0, 0, false};
    } else if (fa < 0) {
      part.low = fmax(part.low, fa / (fa - fb));
    } else if (fb < 0) {
      part.high = fmin(part.high, fa / (fa - fb));
    }
  }
  return part;
}

// grad += factor times the derivatives of a hull's area, for those corners that are among the first 9 points.
__device__ inline void add_area_gradient(const hulls::Point* points, const int* chosen, int count, double factor, double* grad) {
  if (count < 3) return;
  for (int k = 0; k < count; ++k) {
    const int i = chosen[k];
    if (i >= 9) continue;
    const hulls::Point before = points[chosen[k > 0 ? k - 1 : count - 1]], after = points[chosen[k + 1 < count ? k + 1 : 0]];
    grad[2 * i] += factor * 0.5 * (after.y - before.y);
    grad[2 * i + 1] += factor * 0.5 * (before.x - after.x);
  }
}

// grad += factor times the derivatives of the area that the points' hull shares with another.
__device__ inline void add_shared_gradient(const hulls::Point* points, const int* chosen, int count, const hulls::Point* corners,
                                           const int* ring, int around, double factor, double* grad) {
  if (count < 3 || around < 3) return;
  double size = 0;
  for (int k = 0; k < count; ++k)
    for (int j = 0; j < around; ++j) {
      const hulls::Point p = points[chosen[k]], q = corners[ring[j]];
      size = fmax(size, fabs(p.x - q.x) + fabs(p.y - q.y));
    }
  for (int k = 0; k < count; ++k) {
    const int i = chosen[k], j = chosen[k + 1 < count ? k + 1 : 0];
    const Part s = inside(points[i], points[j], corners, ring, around, ALIKE * size);
    if (!(s.high > s.low)) continue;
    const double nx = points[j].y - points[i].y, ny = points[i].x - points[j].x, part = 0.5 * factor * (s.high - s.low);
    double of_i = part * (2.0 - s.low - s.high), of_j = part * (s.low + s.high);
    if (s.along && s.high < 1.0) of_i = part * (1.0 - s.low), of_j = part * s.low;
    grad[2 * i] += of_i * nx;
    grad[2 * i + 1] += of_i * ny;
    grad[2 * j] += of_j * nx;
    grad[2 * j + 1] += of_j * ny;
  }
}

// The GIoU of 9 points' hull and that of 4 corners, which follow them; and its gradient for the points.
NOT_INLINE double giou(const hulls::Point* both, double* g) {
  const hulls::Point *const points = both, *const corners = both + 9;
  int chosen[10], ring[5], outer[14];
  for (int k = 0; k < 18; ++k) g[k] = 0;
  const int count = hulls::hull(points, 9, chosen), around = hulls::hull(corners, 4, ring), outside = hulls::hull(both, 13, outer);
  hulls::Hull<9> p;
  hulls::Hull<4> q;
  p.set(points, chosen, count);
  q.set(corners, ring, around);
  const double inter = hulls::hull_overlap(p, q), enclosing = 0.5 * hulls::twice_area(both, outer, outside);
  const double united = p.area + q.area - inter;
  if (!(enclosing > 0)) return 0;
  double value = united / enclosing - 1.0, of_union = 1.0 / enclosing, of_inter = 0;
  if (united > 0) {
    value += inter / united;
    of_union -= inter / (united * united);
    of_inter = 1.0 / united;
  }
  add_area_gradient(points, chosen, count, of_union, g);
  add_area_gradient(both, outer, outside, -united / (enclosing * enclosing), g);
  add_shared_gradient(points, chosen, count, corners, ring, around, of_inter - of_union, g);
  return value;
}

template <class T> __global__ void __launch_bounds__(64) gious(int64_t n, const T* pointsets, const T* polygons, T* out, T* grads) {
  for (int64_t row = first(); row < n; row += stride()) {
    hulls::Point both[13];  // of equal ones, the points count as the common hull's corners
    double g[18], value = 0;
    bool fine = hulls::load_points(pointsets + 18 * row, 9, both);
    fine = hulls::load_points(polygons + 8 * row, 4, both + 9) && fine;
    if (fine) value = giou(both, g);
    out[row] = T(acc_t<T>(fine ? value : double(NAN)));
    for (int k = 0; k < 18; ++k) grads[18 * row + k] = T(acc_t<T>(fine ? g[k] : double(NAN)));
  }
}
