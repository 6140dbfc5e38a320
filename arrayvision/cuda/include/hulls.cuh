// Convex hulls of a few points, and the areas that two of them share; see cpu/hulls.py, whose formulas these are.
#pragma once
#include "not_inline.cuh"
#include "polygons.cuh"

namespace hulls {

template <class R> struct PointOf { R x, y; };
using Point = PointOf<double>;

// A row of numbers as points; whether all are finite.
template <class T> __device__ inline bool load_points(const T* row, int n, Point* points) {
  double total = 0;
  for (int k = 0; k < n; ++k) {
    points[k] = {double(acc_t<T>(row[2 * k])), double(acc_t<T>(row[2 * k + 1]))};
    total += (points[k].x - points[k].x) + (points[k].y - points[k].y);
  }
  return total == 0;
}

__device__ inline int push_corner(const Point* points, int* chosen, int bottom, int count, int i) {
  for (; count > bottom + 1; --count) {
    const Point a = points[chosen[count - 2]], b = points[chosen[count - 1]], c = points[i];
    if ((b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x) > 0) break;
  }
  chosen[count] = i;
  return count + 1;
}

// The indices of the corners of the hull of at most 13 points, from +x to +y, from the least y and, of these, the least x;
// returns how many. `chosen` has room for one more than the points.
NOT_INLINE int hull(const Point* points, int n, int* chosen) {
  int order[13], m = 0;
  for (int i = 0; i < n; ++i) {
    const Point p = points[i];
    int k = m;
    while (k > 0 && (points[order[k - 1]].y > p.y || (points[order[k - 1]].y == p.y && points[order[k - 1]].x > p.x))) --k;
    if (k > 0 && points[order[k - 1]].y == p.y && points[order[k - 1]].x == p.x) continue;
    for (int j = m; j > k; --j) order[j] = order[j - 1];
    order[k] = i;
    ++m;
  }
  int count = 0;
  for (int step = 0; step < m; ++step) count = push_corner(points, chosen, 0, count, order[step]);
  if (m > 1) {
    const int top = count - 1;
    for (int step = m - 2; step >= 0; --step) count = push_corner(points, chosen, top, count, order[step]);
    --count;
  }
  return count;
}

__device__ inline double twice_area(const Point* points, const int* chosen, int count) {
  double total = 0;
  for (int k = 1; k < count - 1; ++k) {
    const Point o = points[chosen[0]], a = points[chosen[k]], b = points[chosen[k + 1]];
    total += (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  }
  return total;
}

// A hull's numbers R are doubles, or Pairs where these are slow; it is found in doubles.
template <int MOST, class R = double> struct Hull : polygons::Shape<R> {
  using Exact = Hull<MOST>;
  int count;
  PointOf<R> corner[MOST];  // relative to the centre

  __device__ void set(const Exact& s) {
    this->take(s);
    count = s.count;
    for (int k = 0; k < count; ++k) corner[k] = {s.corner[k].x, s.corner[k].y};
  }

  // From the hull of finite points.
  __device__ void set(const Point* points, const int* chosen, int corners) {
    count = corners;
    this->area = 0.5 * twice_area(points, chosen, count);
    double left = points[0].x, right = left, low = points[0].y, high = low;
    for (int k = 0; k < count; ++k) {
      const Point p = points[chosen[k]];
      left = fmin(left, p.x), right = fmax(right, p.x), low = fmin(low, p.y), high = fmax(high, p.y);
    }
    const double x = 0.5 * left + 0.5 * right, y = 0.5 * low + 0.5 * high;
    this->cx = x, this->cy = y, this->ex = 0.5 * (right - left), this->ey = 0.5 * (high - low);
    for (int k = 0; k < count; ++k) corner[k] = {points[chosen[k]].x - x, points[chosen[k]].y - y};
  }

  template <class T> __device__ void load_row(const T* row) {
    Point points[MOST];
    int chosen[MOST + 1];
    const bool fine = load_points(row, MOST, points);
    set(points, chosen, fine ? hull(points, MOST, chosen) : 0);
    if (!fine) this->area = 0;
  }
};

template <int M, int N, class R> NOT_INLINE R hull_overlap(const Hull<M, R>& p, const Hull<N, R>& q) {
  const R dx = q.cx - p.cx, dy = q.cy - p.cy, none = 0.0;
  if (!(p.area > none && q.area > none) || fabs(dx) >= p.ex + q.ex || fabs(dy) >= p.ey + q.ey) return none;
  R total = 0.0;
  for (int i = 0; i < p.count; ++i) {
    const PointOf<R> a = p.corner[i], b = p.corner[i + 1 < p.count ? i + 1 : 0];
    for (int j = 0; j < q.count; ++j) {
      const PointOf<R> c = q.corner[j], d = q.corner[j + 1 < q.count ? j + 1 : 0];
      total = total + polygons::under_both(a.x, a.y, b.x, b.y, dx + c.x, dy + c.y, dx + d.x, dy + d.y);
    }
  }
  return fmin(fmax(total, none), fmin(p.area, q.area));
}

template <int M, int N, class R> __device__ inline R iou(const Hull<M, R>& p, const Hull<N, R>& q) {
  const R none = 0.0, inter = hull_overlap(p, q);
  return inter > none ? inter / (p.area + q.area - inter) : inter == none ? none : inter;
}

}  // namespace hulls
