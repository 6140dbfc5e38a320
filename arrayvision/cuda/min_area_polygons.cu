// The smallest rectangles round 9 points: cpu/min_area_polygons.py.
#include "hulls.cuh"

template <class T> __global__ void __launch_bounds__(64) rectangles(int64_t n, const T* pointsets, T* out) {
  for (int64_t row = first(); row < n; row += stride()) {
    hulls::Point points[9];
    int chosen[10];
    T* const corners = out + 8 * row;
    if (!hulls::load_points(pointsets + 18 * row, 9, points)) {
      for (int k = 0; k < 8; ++k) corners[k] = T(acc_t<T>(NAN));
      continue;
    }
    const int count = hulls::hull(points, 9, chosen);
    const hulls::Point origin = points[chosen[0]];
    double best = INFINITY, best_c = 1, best_s = 0, left = 0, right = 0, low = 0, high = 0;
    for (int k = 0; k < count; ++k) {
      const hulls::Point a = points[chosen[k]], b = points[chosen[k + 1 < count ? k + 1 : 0]];
      double c = b.x - a.x, s = b.y - a.y;
      const double length = hypot(c, s);
      c = length > 0 ? c / length : 1.0;
      s = length > 0 ? s / length : 0.0;
      for (int turn = 0; turn < 3; ++turn)  // the side whose direction is within [0, 90) degrees
        if (!(c > 0 && s >= 0)) {
          const double old = c;
          c = s, s = -old;
        }
      double x0 = 0, x1 = 0, y0 = 0, y1 = 0;
      for (int j = 0; j < count; ++j) {
        const double dx = points[chosen[j]].x - origin.x, dy = points[chosen[j]].y - origin.y;
        const double x = dx * c + dy * s, y = dy * c - dx * s;
        x0 = fmin(x0, x), x1 = fmax(x1, x), y0 = fmin(y0, y), y1 = fmax(y1, y);
      }
      const double area = (x1 - x0) * (y1 - y0);
      if (k == 0 || area < best * (1.0 - 1e-12)) best = area, best_c = c, best_s = s, left = x0, right = x1, low = y0, high = y1;
    }
    for (int k = 0; k < 4; ++k) {
      const double x = k == 0 || k == 3 ? right : left, y = k < 2 ? low : high;
      corners[2 * k] = T(acc_t<T>(origin.x + (x * best_c - y * best_s)));
      corners[2 * k + 1] = T(acc_t<T>(origin.y + (x * best_s + y * best_c)));
    }
  }
}
