// Areas that rotated boxes and quadrilaterals share, as signed sums of integrals over edges; see cpu/polygons.py, whose
// formulas these are. A shape is a row of doubles; its area is 0 if it isn't finite or has no extent.
#pragma once
#include "prelude.cuh"

namespace polygons {

struct Shape {  // centre and half extents of the axis-aligned hull, and the area
  double cx, cy, ex, ey, area;
};

struct Rotated : Shape {
  double half_w, half_h, cos, sin;
  static constexpr int columns = 5;

  template <class T> __device__ void load(const T* box, double sense) {
    const double w = double(acc_t<T>(box[2])), h = double(acc_t<T>(box[3])), angle = sense * double(acc_t<T>(box[4]));
    cx = double(acc_t<T>(box[0]));
    cy = double(acc_t<T>(box[1]));
    cos = ::cos(angle);
    sin = ::sin(angle);
    ex = 0.5 * (fabs(w * cos) + fabs(h * sin));
    ey = 0.5 * (fabs(w * sin) + fabs(h * cos));
    area = w * h;
    half_w = 0.5 * w;
    half_h = 0.5 * h;
    if (!(w > 0 && h > 0 && finite(area) && finite(cx) && finite(cy) && finite(angle))) area = 0;
  }
};

struct Quad : Shape {
  double corner[8], sign;  // relative to the hull's centre; 1 or -1 by orientation
  static constexpr int columns = 8;

  template <class T> __device__ void load(const T* box, double) {
    double v[8], total = 0;
    for (int k = 0; k < 8; ++k) total += v[k] = double(acc_t<T>(box[k]));
    double left = v[0], right = v[0], top = v[1], bottom = v[1];
    for (int k = 2; k < 8; k += 2) {
      left = fmin(left, v[k]), right = fmax(right, v[k]);
      top = fmin(top, v[k + 1]), bottom = fmax(bottom, v[k + 1]);
    }
    cx = 0.5 * left + 0.5 * right;
    cy = 0.5 * top + 0.5 * bottom;
    for (int k = 0; k < 8; k += 2) corner[k] = v[k] - cx, corner[k + 1] = v[k + 1] - cy;
    const double* p = corner;
    area = 0.5 * ((p[4] - p[0]) * (p[7] - p[3]) - (p[6] - p[2]) * (p[5] - p[1]));
    ex = 0.5 * (right - left);
    ey = 0.5 * (bottom - top);
    sign = area > 0 ? 1 : -1;
    area = finite(area) && finite(total) ? fabs(area) : 0;
  }
};

// The integral of clamp(y, -b, b) along an edge, over those x within [-a, a]; negative where x falls.
__device__ inline double under_edge(double x1, double y1, double x2, double y2, double a, double b) {
  const double xa = fmin(fmax(x1, -a), a), xb = fmin(fmax(x2, -a), a), d = xb - xa;
  if (d == 0) return 0;
  const double slope = (y2 - y1) / (x2 - x1), ya = y1 + (xa - x1) * slope, yb = y2 + (xb - x2) * slope;
  const double low = fmin(ya, yb), high = fmax(ya, yb);
  if (low >= b) return d * b;
  if (high <= -b) return -d * b;
  if (low >= -b && high <= b) return d * 0.5 * (ya + yb);
  const double below = fmax(-b - low, 0.0) / (high - low), above = fmax(high - b, 0.0) / (high - low);
  return d * ((above - below) * b + (1.0 - below - above) * 0.5 * (fmax(low, -b) + fmin(high, b)));
}

__device__ inline double shared_area(const Rotated& p, const Rotated& q) {
  const double c = p.cos, s = p.sin, dx = q.cx - p.cx, dy = q.cy - p.cy;
  const double u = dx * c + dy * s, v = dy * c - dx * s;  // q's centre in p's frame
  const double cos = c * q.cos + s * q.sin, sin = c * q.sin - s * q.cos;
  const double wx = q.half_w * cos, wy = q.half_w * sin, hx = -q.half_h * sin, hy = q.half_h * cos;
  const double a = p.half_w, b = p.half_h;
  if (fabs(u) >= a + fabs(wx) + fabs(hx) || fabs(v) >= b + fabs(wy) + fabs(hy)) return 0;
  const double x1 = u + wx + hx, y1 = v + wy + hy, x2 = u - wx + hx, y2 = v - wy + hy;
  const double x3 = u - wx - hx, y3 = v - wy - hy, x4 = u + wx - hx, y4 = v + wy - hy;
  return fabs(under_edge(x1, y1, x2, y2, a, b) + under_edge(x2, y2, x3, y3, a, b) +
              under_edge(x3, y3, x4, y4, a, b) + under_edge(x4, y4, x1, y1, a, b));
}

// The integral of the lower of two edges over the x that both span; signed by their directions.
__device__ inline double under_both(double x1, double y1, double x2, double y2, double u1, double v1, double u2, double v2) {
  const double left = fmax(fmin(x1, x2), fmin(u1, u2)), right = fmin(fmax(x1, x2), fmax(u1, u2));
  double d = right - left;
  if (!(d > 0)) return 0;
  if ((x2 > x1) != (u2 > u1)) d = -d;
  const double m = (y2 - y1) / (x2 - x1), k = (v2 - v1) / (u2 - u1);
  const double ya = x2 < x1 ? y2 + (left - x2) * m : y1 + (left - x1) * m;
  const double yb = x2 < x1 ? y1 + (right - x1) * m : y2 + (right - x2) * m;
  const double va = u2 < u1 ? v2 + (left - u2) * k : v1 + (left - u1) * k;
  const double vb = u2 < u1 ? v1 + (right - u1) * k : v2 + (right - u2) * k;
  const double fa = ya - va, fb = yb - vb;
  if (fa <= 0 && fb <= 0) return d * 0.5 * (ya + yb);
  if (fa >= 0 && fb >= 0) return d * 0.5 * (va + vb);
  const double t = fa / (fa - fb);
  return d * 0.5 * (va + vb + (fa < 0 ? fa * t : fb * (1.0 - t)));
}

__device__ inline double shared_area(const Quad& p, const Quad& q) {
  const double dx = q.cx - p.cx, dy = q.cy - p.cy;
  double total = 0;
  for (int i = 0; i < 8; i += 2) {
    const int j = (i + 2) % 8;
    for (int m = 0; m < 8; m += 2) {
      const int n = (m + 2) % 8;
      total += under_both(p.corner[i], p.corner[i + 1], p.corner[j], p.corner[j + 1], dx + q.corner[m],
                          dy + q.corner[m + 1], dx + q.corner[n], dy + q.corner[n + 1]);
    }
  }
  return total * p.sign * q.sign;
}

// The area that two shapes share: within [0, the smaller one's area].
template <class S> __device__ inline double overlap(const S& p, const S& q) {
  if (!(p.area > 0 && q.area > 0) || fabs(q.cx - p.cx) >= p.ex + q.ex || fabs(q.cy - p.cy) >= p.ey + q.ey) return 0;
  return fmin(fmax(shared_area(p, q), 0.0), fmin(p.area, q.area));
}

}  // namespace polygons
