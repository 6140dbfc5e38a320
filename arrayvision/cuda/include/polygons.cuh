// Areas that rotated boxes and quadrilaterals share, as signed sums of integrals over edges; see cpu/polygons.py, whose
// formulas these are. A shape is a row of numbers R: doubles, or Pairs where these are slow; its area is 0 if it isn't finite or
// has no extent. What floats know of a shape decides about most pairs of them: two axis-aligned hulls that don't touch (`Hull`),
// an IoU that is far from a threshold (`Rough`).
#pragma once
#include "pairs.cuh"

namespace polygons {

template <class R> struct Shape {  // centre and half extents of the axis-aligned hull, and the area
  R cx, cy, ex, ey, area;

  // The same from doubles. What is too large or too small for Pairs has no area then.
  __device__ void take(const Shape<double>& s) {
    cx = s.cx, cy = s.cy, ex = s.ex, ey = s.ey, area = s.area;
    if (pairs::is_pair<R> && !(fabs(s.cx) + fabs(s.cy) + s.ex + s.ey < 1e15 && s.area > 1e-25)) area = 0.0;
  }
};

template <class R> struct RotatedOf : Shape<R> {
  using Number = R;
  using Exact = RotatedOf<double>;
  R half_w, half_h, cos, sin;
  static constexpr int columns = 5;

  template <class T> __device__ void load(const T* box, double sense) {
    const double w = double(acc_t<T>(box[2])), h = double(acc_t<T>(box[3])), angle = sense * double(acc_t<T>(box[4]));
    this->cx = double(acc_t<T>(box[0]));
    this->cy = double(acc_t<T>(box[1]));
    cos = ::cos(angle);
    sin = ::sin(angle);
    this->ex = 0.5 * (fabs(w * cos) + fabs(h * sin));
    this->ey = 0.5 * (fabs(w * sin) + fabs(h * cos));
    this->area = w * h;
    half_w = 0.5 * w;
    half_h = 0.5 * h;
    if (!(w > 0 && h > 0 && finite(this->area) && finite(this->cx) && finite(this->cy) && finite(angle))) this->area = 0;
  }
  __device__ void set(const Exact& s) {
    this->take(s);
    half_w = s.half_w, half_h = s.half_h, cos = s.cos, sin = s.sin;
  }
};

template <class R> struct QuadOf : Shape<R> {
  using Number = R;
  using Exact = QuadOf<double>;
  R corner[8], sign;  // relative to the hull's centre; 1 or -1 by orientation
  static constexpr int columns = 8;

  template <class T> __device__ void load(const T* box, double) {
    double v[8], total = 0;
    for (int k = 0; k < 8; ++k) total += v[k] = double(acc_t<T>(box[k]));
    double left = v[0], right = v[0], top = v[1], bottom = v[1];
    for (int k = 2; k < 8; k += 2) {
      left = fmin(left, v[k]), right = fmax(right, v[k]);
      top = fmin(top, v[k + 1]), bottom = fmax(bottom, v[k + 1]);
    }
    const double x = 0.5 * left + 0.5 * right, y = 0.5 * top + 0.5 * bottom;
    for (int k = 0; k < 8; k += 2) corner[k] = v[k] - x, corner[k + 1] = v[k + 1] - y;
    const R* p = corner;
    const double size = 0.5 * ((p[4] - p[0]) * (p[7] - p[3]) - (p[6] - p[2]) * (p[5] - p[1]));
    this->cx = x, this->cy = y;
    this->ex = 0.5 * (right - left), this->ey = 0.5 * (bottom - top);
    sign = size > 0 ? 1 : -1;
    this->area = finite(size) && finite(total) ? fabs(size) : 0;
  }
  __device__ void set(const Exact& s) {
    this->take(s);
    for (int k = 0; k < 8; ++k) corner[k] = s.corner[k];
    sign = s.sign;
  }
};

using Rotated = RotatedOf<double>;
using Quad = QuadOf<double>;
using RotatedPairs = RotatedOf<pairs::Pair>;
using QuadPairs = QuadOf<pairs::Pair>;

// The integral of clamp(y, -b, b) along an edge, over those x within [-a, a]; negative where x falls.
template <class R> __device__ inline R under_edge(R x1, R y1, R x2, R y2, R a, R b) {
  const R xa = fmin(fmax(x1, -a), a), xb = fmin(fmax(x2, -a), a), d = xb - xa, half = 0.5, none = 0.0;
  if (d == none) return none;
  const R slope = (y2 - y1) / (x2 - x1), ya = y1 + (xa - x1) * slope, yb = y2 + (xb - x2) * slope;
  const R low = fmin(ya, yb), high = fmax(ya, yb);
  if (low >= b) return d * b;
  if (high <= -b) return -d * b;
  if (low >= -b && high <= b) return d * half * (ya + yb);
  const R below = fmax(-b - low, none) / (high - low), above = fmax(high - b, none) / (high - low);
  return d * ((above - below) * b + (R(1.0) - below - above) * half * (fmax(low, -b) + fmin(high, b)));
}

// The area that two rotated boxes share, of which the second one's centre lies at (dx, dy) from the first one's.
template <class S, class R> __device__ inline R area_of_rotated(const S& p, const S& q, R dx, R dy) {
  const R c = p.cos, s = p.sin;
  const R u = dx * c + dy * s, v = dy * c - dx * s;  // q's centre in p's frame
  const R cos = c * q.cos + s * q.sin, sin = c * q.sin - s * q.cos;
  const R wx = q.half_w * cos, wy = q.half_w * sin, hx = -q.half_h * sin, hy = q.half_h * cos;
  const R a = p.half_w, b = p.half_h;
  if (fabs(u) >= a + fabs(wx) + fabs(hx) || fabs(v) >= b + fabs(wy) + fabs(hy)) return 0.0;
  const R x1 = u + wx + hx, y1 = v + wy + hy, x2 = u - wx + hx, y2 = v - wy + hy;
  const R x3 = u - wx - hx, y3 = v - wy - hy, x4 = u + wx - hx, y4 = v + wy - hy;
  return fabs(under_edge(x1, y1, x2, y2, a, b) + under_edge(x2, y2, x3, y3, a, b) +
              under_edge(x3, y3, x4, y4, a, b) + under_edge(x4, y4, x1, y1, a, b));
}

// The integral of the lower of two edges over the x that both span; signed by their directions.
template <class R> __device__ inline R under_both(R x1, R y1, R x2, R y2, R u1, R v1, R u2, R v2) {
  const R left = fmax(fmin(x1, x2), fmin(u1, u2)), right = fmin(fmax(x1, x2), fmax(u1, u2)), half = 0.5, none = 0.0;
  R d = right - left;
  if (!(d > none)) return none;
  if ((x2 > x1) != (u2 > u1)) d = -d;
  const R m = (y2 - y1) / (x2 - x1), k = (v2 - v1) / (u2 - u1);
  const R ya = x2 < x1 ? y2 + (left - x2) * m : y1 + (left - x1) * m;
  const R yb = x2 < x1 ? y1 + (right - x1) * m : y2 + (right - x2) * m;
  const R va = u2 < u1 ? v2 + (left - u2) * k : v1 + (left - u1) * k;
  const R vb = u2 < u1 ? v1 + (right - u1) * k : v2 + (right - u2) * k;
  const R fa = ya - va, fb = yb - vb;
  if (fa <= none && fb <= none) return d * half * (ya + yb);
  if (fa >= none && fb >= none) return d * half * (va + vb);
  const R t = fa / (fa - fb);
  return d * half * (va + vb + (fa < none ? fa * t : fb * (R(1.0) - t)));
}

// The same as of rotated boxes, of quadrilaterals.
template <class S, class R> __device__ inline R area_of_quads(const S& p, const S& q, R dx, R dy) {
  R total = 0.0;
  for (int i = 0; i < 8; i += 2) {
    const int j = (i + 2) % 8;
    for (int m = 0; m < 8; m += 2) {
      const int n = (m + 2) % 8;
      total = total + under_both(p.corner[i], p.corner[i + 1], p.corner[j], p.corner[j + 1], dx + q.corner[m],
                                 dy + q.corner[m + 1], dx + q.corner[n], dy + q.corner[n + 1]);
    }
  }
  return total * p.sign * q.sign;
}

template <class R> __device__ inline R shared_area(const RotatedOf<R>& p, const RotatedOf<R>& q) {
  return area_of_rotated(p, q, q.cx - p.cx, q.cy - p.cy);
}
template <class R> __device__ inline R shared_area(const QuadOf<R>& p, const QuadOf<R>& q) {
  return area_of_quads(p, q, q.cx - p.cx, q.cy - p.cy);
}

// The area that two shapes share: within [0, the smaller one's area].
template <class S> __device__ inline typename S::Number overlap(const S& p, const S& q) {
  const typename S::Number none = 0.0;
  if (!(p.area > none && q.area > none) || fabs(q.cx - p.cx) >= p.ex + q.ex || fabs(q.cy - p.cy) >= p.ey + q.ey) return none;
  return fmin(fmax(shared_area(p, q), none), fmin(p.area, q.area));
}

// An axis-aligned hull in floats, rounded outwards by more than `overlap` rounds; of a shape without an area nothing.
struct Hull {
  float left, right, top, bottom;

  __device__ void set(const Shape<double>& s) {
    const double more = 1e-12 * (fabs(s.cx) + fabs(s.cy) + s.ex + s.ey);
    const bool some = s.area > 0;
    left = some ? __double2float_rd(s.cx - s.ex - more) : INFINITY, right = some ? __double2float_ru(s.cx + s.ex + more) : -INFINITY;
    top = some ? __double2float_rd(s.cy - s.ey - more) : INFINITY, bottom = some ? __double2float_ru(s.cy + s.ey + more) : -INFINITY;
  }
  // Whether two have nothing in common; then `overlap` of the shapes is 0.
  __device__ bool apart(const Hull& o) const { return right < o.left || o.right < left || bottom < o.top || o.bottom < top; }
};

// What floats know of a shape: no double is touched to compare two of these. `reach` is the sum of its half extents, or more by
// what its place is rounded, and INFINITY for shapes so large, so small or so thin that floats don't tell.
struct RoughShape {
  Hull hull;
  float x, y, x_low, y_low;  // the centre
  float area, reach;

  __device__ void set(const Shape<double>& s, double extents) {
    hull.set(s);
    x = float(s.cx), x_low = float(s.cx - double(x)), y = float(s.cy), y_low = float(s.cy - double(y));
    area = float(s.area);
    const double most = extents + (fabs(s.cx) + fabs(s.cy)) * (1.0 / (1 << 20));
    reach = most < 1e15 && s.area > 1e-30 ? float(1.0001 * most) : INFINITY;
  }
};

struct RoughRotated : RoughShape {
  float half_w, half_h, cos, sin;

  __device__ void set(const Rotated& s) {
    RoughShape::set(s, s.half_w + s.half_h);
    half_w = float(s.half_w), half_h = float(s.half_h), cos = float(s.cos), sin = float(s.sin);
  }
  __device__ float area_with(const RoughRotated& o, float dx, float dy) const { return area_of_rotated(*this, o, dx, dy); }

  // How far area_with is from the area, at most, where `all` is the distance of the centres (|dx| + |dy|) and both reaches. With
  // a unit u = 2**-24: a corner's place in this box's frame has an error of 8 u all, which moves each of four edges, of which at
  // most 2 (a + b) lie in the box; the ends of what is left of an edge have errors of 13 u all, and its integral 21 u b more, over
  // lengths that add up to 8 a. In all that is less than 200 u (a + b) all.
  __device__ float error(float all) const { return reach * all * (1.0f / (1 << 16)); }
};

struct RoughQuad : RoughShape {
  float corner[8], sign, unused;

  __device__ void set(const Quad& s) {
    RoughShape::set(s, s.ex + s.ey);
    for (int k = 0; k < 8; ++k) corner[k] = float(s.corner[k]);
    sign = float(s.sign), unused = 0;
  }
  __device__ float area_with(const RoughQuad& o, float dx, float dy) const { return area_of_quads(*this, o, dx, dy); }

  // In the same way: 16 pairs of edges, 18 u all of which come from the corners' places and 34 u all from the ends of each, over a
  // length of at most the narrower one's width, so less than 900 u all**2.
  __device__ float error(float all) const { return all * all * (1.0f / (1 << 14)); }
};

// Whether the IoU of two shapes exceeds a threshold: 1 if it does, -1 if not, 0 if floats don't tell.
template <class Rough> __device__ inline int compared(const Rough& p, const Rough& q, float threshold) {
  if (p.hull.apart(q.hull)) return -1;
  const float dx = (q.x - p.x) + (q.x_low - p.x_low), dy = (q.y - p.y) + (q.y_low - p.y_low);
  const float all = fabsf(dx) + fabsf(dy) + p.reach + q.reach;
  if (!(all < INFINITY && threshold >= 0)) return 0;
  const float least = fminf(p.area, q.area), limit = threshold * (p.area + q.area);
  if (least < 0.9999f * threshold * fmaxf(p.area, q.area)) return -1;
  const float inter = fminf(fmaxf(p.area_with(q, dx, dy), 0.0f), least), more = 1.0f + threshold;
  const float error = more * p.error(all) + 1e-6f * limit;  // the latter is what areas, threshold and IoU are rounded by
  if (inter * more > limit + error) return 1;
  return inter * more < limit - error ? -1 : 0;
}

// A shape that the suppressions compare with others: what floats know, and for close calls the rest.
template <class S, class R> struct Candidate {
  using Rough = R;
  R known;
  S shape;
  static constexpr int columns = S::columns;
  static constexpr bool costly = true;  // to compare: their hulls are first

  template <class T> __device__ void load(const T* box, double sense) {
    shape.load(box, sense);
    known.set(shape);
  }
  __device__ const R& rough() const { return known; }
};

using RotatedCandidate = Candidate<Rotated, RoughRotated>;
using QuadCandidate = Candidate<Quad, RoughQuad>;

// As the suppressions ask; `single`: IoUs count as floats.
template <class S, class R>
__device__ inline bool above(const R& p, const R& q, const Candidate<S, R>& first, const Candidate<S, R>& second, double threshold, double single) {
  const int found = compared(p, q, float(threshold));
  if (found) return found > 0;
  const S &a = first.shape, &b = second.shape;
  const double inter = overlap(a, b);
  if (!(inter > 0)) return false;
  const double iou = inter / (a.area + b.area - inter);
  return (single != 0 ? double(float(iou)) : iou) > threshold;
}

}  // namespace polygons
