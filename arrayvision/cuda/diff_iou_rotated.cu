// IoU of rotated boxes, row by row, and its gradients for both boxes: the formulas of cpu/diff_iou_rotated.py.
#include "not_inline.cuh"
#include "polygons.cuh"

constexpr double ALIKE = 1e-13;  // edges this near (relative to all extents) lie on each other

struct Box {
  double x, y, w, h, angle, z, length;
  int fine;  // 1; 0 if it has no extent, -1 if a number isn't finite

  template <class T> __device__ void load(const T* row, int width) {
    double v[7], total = 0;
    for (int k = 0; k < width; ++k) {
      v[k] = double(acc_t<T>(row[k]));
      total += v[k] - v[k];
    }
    const bool flat = width == 5;
    x = v[0], y = v[1], w = v[flat ? 2 : 3], h = v[flat ? 3 : 4], angle = v[flat ? 4 : 6];
    z = flat ? 0 : v[2], length = flat ? 1 : v[5];
    fine = !(total == 0) ? -1 : w > 0 && h > 0 && length > 0;
  }
  __device__ double volume() const { return w * h * length; }
};

struct Frame {  // q seen from p: its centre, and the cosine and sine of its angle
  double u, v, cos, sin;
  __device__ Frame(const Box& p, const Box& q) {
    const double dx = q.x - p.x, dy = q.y - p.y, c = ::cos(p.angle), s = ::sin(p.angle), turn = q.angle - p.angle;
    u = dx * c + dy * s, v = dy * c - dx * s, cos = ::cos(turn), sin = ::sin(turn);
  }
};

NOT_INLINE double planar_area(const Box& p, const Box& q) {
  const Frame f(p, q);
  const double a = 0.5 * p.w, b = 0.5 * p.h, u = f.u, v = f.v;
  const double wx = 0.5 * q.w * f.cos, wy = 0.5 * q.w * f.sin, hx = -0.5 * q.h * f.sin, hy = 0.5 * q.h * f.cos;
  if (fabs(u) >= a + fabs(wx) + fabs(hx) || fabs(v) >= b + fabs(wy) + fabs(hy)) return 0;
  const double x1 = u + wx + hx, y1 = v + wy + hy, x2 = u - wx + hx, y2 = v - wy + hy;
  const double x3 = u - wx - hx, y3 = v - wy - hy, x4 = u + wx - hx, y4 = v + wy - hy;
  const double area = polygons::under_edge(x1, y1, x2, y2, a, b) + polygons::under_edge(x2, y2, x3, y3, a, b) +
                      polygons::under_edge(x3, y3, x4, y4, a, b) + polygons::under_edge(x4, y4, x1, y1, a, b);
  return fmin(fabs(area), fmin(p.w * p.h, q.w * q.h));
}

struct Part { double length, moment; };  // the integrals of 1 and of t over a part of an edge

__device__ inline Part inside(double x, double y, double tx, double ty, double half, double a, double b, double alike) {
  double low = -half, high = half, weight = 1;
  const double at[2] = {x, y}, along[2] = {tx, ty}, bound[2] = {a, b};
  for (int k = 0; k < 2; ++k)
    if (fabs(along[k]) * half <= alike) {
      if (fabs(at[k]) > bound[k] + alike) return {0, 0};
      if (fabs(at[k]) >= bound[k] - alike) weight = 0.5;
    } else {
      const double left = (-bound[k] - at[k]) / along[k], right = (bound[k] - at[k]) / along[k];
      low = fmax(low, fmin(left, right)), high = fmin(high, fmax(left, right));
    }
  if (!(high > low)) return {0, 0};
  return {weight * (high - low), weight * 0.5 * (high - low) * (high + low)};
}

struct Growth { double u, v, w, h, angle; };  // of the area shared with [-a, a] x [-b, b]

NOT_INLINE Growth edges(double u, double v, double cos, double sin, double w, double h, double a, double b,
                               double alike) {
  const Part right = inside(u + 0.5 * w * cos, v + 0.5 * w * sin, -sin, cos, 0.5 * h, a, b, alike);
  const Part left = inside(u - 0.5 * w * cos, v - 0.5 * w * sin, sin, -cos, 0.5 * h, a, b, alike);
  const Part top = inside(u - 0.5 * h * sin, v + 0.5 * h * cos, -cos, -sin, 0.5 * w, a, b, alike);
  const Part bottom = inside(u + 0.5 * h * sin, v - 0.5 * h * cos, cos, sin, 0.5 * w, a, b, alike);
  const double x = right.length - left.length, y = top.length - bottom.length;
  return {x * cos - y * sin, x * sin + y * cos, 0.5 * (right.length + left.length), 0.5 * (top.length + bottom.length),
          -(right.moment + left.moment + top.moment + bottom.moment)};
}

struct Height { double length, low_p, high_p, low_q, high_q; };  // shared, and its derivatives for the ends

__device__ inline Height shared_height(const Box& p, const Box& q) {
  const double low_p = p.z - 0.5 * p.length, high_p = p.z + 0.5 * p.length;
  const double low_q = q.z - 0.5 * q.length, high_q = q.z + 0.5 * q.length;
  const double length = fmin(high_p, high_q) - fmax(low_p, low_q);
  if (length < 0) return {0, 0, 0, 0, 0};
  const double half = length > 0 ? 1 : 0.5, top = high_p < high_q ? 1 : high_p == high_q ? 0.5 : 0;
  const double bottom = low_p > low_q ? 1 : low_p == low_q ? 0.5 : 0;
  return {length, -half * bottom, half * top, -half * (1 - bottom), half * (1 - top)};
}

template <class T> __global__ void __launch_bounds__(128) ious(int64_t n, int width, const T* first_boxes, const T* second_boxes, T* out) {
  for (int64_t i = first(); i < n; i += stride()) {
    Box p, q;
    p.load(first_boxes + i * width, width);
    q.load(second_boxes + i * width, width);
    double value = p.fine < 0 || q.fine < 0 ? double(NAN) : 0.0;
    if (p.fine > 0 && q.fine > 0) {
      const double inter = planar_area(p, q) * shared_height(p, q).length;
      if (inter > 0) value = inter / (p.volume() + q.volume() - inter);
    }
    out[i] = T(acc_t<T>(value));
  }
}

template <class T> __device__ inline void store(T* row, int width, const double* g, double gz, double gl) {
  const double flat[7] = {g[0], g[1], g[2], g[3], g[4], 0, 0}, solid[7] = {g[0], g[1], gz, g[2], g[3], gl, g[4]};
  for (int k = 0; k < width; ++k) row[k] = T(acc_t<T>(width == 5 ? flat[k] : solid[k]));
}

template <class T>
__global__ void __launch_bounds__(128) gradients(int64_t n, int width, const T* grad, const T* first_boxes, const T* second_boxes, T* out_first,
                          T* out_second) {
  for (int64_t i = first(); i < n; i += stride()) {
    Box p, q;
    p.load(first_boxes + i * width, width);
    q.load(second_boxes + i * width, width);
    T *const row_p = out_first + i * width, *const row_q = out_second + i * width;
    const double above = double(acc_t<T>(grad[i]));
    if (p.fine < 1 || q.fine < 1) {
      const float value = p.fine < 0 || q.fine < 0 ? NAN : 0.0f;
      for (int k = 0; k < width; ++k) row_p[k] = row_q[k] = T(acc_t<T>(value));
      continue;
    }
    const Frame f(p, q);
    const double alike = ALIKE * (fabs(f.u) + fabs(f.v) + p.w + p.h + q.w + q.h), area = planar_area(p, q);
    const Growth of_q = edges(f.u, f.v, f.cos, f.sin, q.w, q.h, 0.5 * p.w, 0.5 * p.h, alike);
    const Growth of_p = edges(-f.u * f.cos - f.v * f.sin, f.u * f.sin - f.v * f.cos, f.cos, -f.sin, p.w, p.h, 0.5 * q.w,
                              0.5 * q.h, alike);
    const Height height = shared_height(p, q);
    const double inter = area * height.length, whole = p.volume() + q.volume(), united = whole - inter;
    const double rise = above * whole / (united * united), fall = above * inter / (united * united);
    const double up = rise * height.length, c = cos(p.angle), s = sin(p.angle);
    const double x = of_q.u * c - of_q.v * s, y = of_q.u * s + of_q.v * c;
    const double gp[5] = {-x * up, -y * up, of_p.w * up - fall * p.h * p.length, of_p.h * up - fall * p.w * p.length,
                          (-of_q.angle + of_q.u * f.v - of_q.v * f.u) * up};
    const double gq[5] = {x * up, y * up, of_q.w * up - fall * q.h * q.length, of_q.h * up - fall * q.w * q.length,
                          of_q.angle * up};
    store(row_p, width, gp, rise * area * (height.low_p + height.high_p),
          0.5 * rise * area * (height.high_p - height.low_p) - fall * p.w * p.h);
    store(row_q, width, gq, rise * area * (height.low_q + height.high_q),
          0.5 * rise * area * (height.high_q - height.low_q) - fall * q.w * q.h);
  }
}
