// Upright boxes in space (x, y, z of the bottom's centre, dx, dy, dz, yaw), and the points in them: cpu/boxes3d.py. In double.
#pragma once
#include "prelude.cuh"

namespace boxes3d {

template <class T> __device__ inline double wide(T value) { return double(acc_t<T>(value)); }

struct Frame {
  double x, y, z, hx, hy, hz, cosine, sine;  // the bottom's centre, halves of the sizes, of yaw

  template <class T>
  __device__ explicit Frame(const T* box)
      : Frame(wide(box[0]), wide(box[1]), wide(box[2]), wide(box[3]) / 2, wide(box[4]) / 2, wide(box[5]) / 2, wide(box[6])) {}
  __device__ Frame(double x, double y, double z, double hx, double hy, double hz, double yaw)
      : x(x), y(y), z(z), hx(hx), hy(hy), hz(hz), cosine(cos(yaw)), sine(sin(yaw)) {}

  // A point's x and y in the box's frame: turned round the box's centre by -yaw.
  template <class T> __device__ double along(const T* point) const { return (wide(point[0]) - x) * cosine + (wide(point[1]) - y) * sine; }
  template <class T> __device__ double across(const T* point) const { return (wide(point[1]) - y) * cosine - (wide(point[0]) - x) * sine; }

  __device__ bool is_finite() const {
    return finite(x) && finite(y) && finite(z) && finite(hx) && finite(hy) && finite(hz) && finite(cosine);
  }

  // Whether a point is in the box: strictly in x and y, ends of z included; never for NaN, nor for an infinite x.
  template <class T> __device__ bool contains(const T* point) const {
    return fabs(wide(point[2]) - (z + hz)) <= hz && fabs(along(point)) < hx && fabs(across(point)) < hy;
  }
};

// A coordinate in floats; a larger one than there are becomes the largest.
template <class T> __device__ inline float near(T value) { return float(acc_t<T>(value)); }
__device__ inline float near(double value) { return float(value != value ? value : min(max(value, -double(FLT_MAX)), double(FLT_MAX))); }

// A box in floats, grown by more than their rounding: what is outside of it is outside of the box.
struct __align__(16) Rough {
  float x, y, z, reach, height;
  __device__ explicit Rough(const Frame& box)
      : x(near(box.x)), y(near(box.y)), z(near(box.z + box.hz)),
        reach(float((box.hx + box.hy) * GROWN + (fabs(box.x) + fabs(box.y)) * (GROWN - 1))),
        height(float(box.hz * GROWN + fabs(box.z + box.hz) * (GROWN - 1))) {}
  // Nothing that is not a number says so. All three are compared, without branches.
  __device__ bool misses(const float (&p)[3]) const { return (fabs(p[0] - x) > reach) | (fabs(p[1] - y) > reach) | (fabs(p[2] - z) > height); }

 private:
  static constexpr double GROWN = 1 + 1e-6;
};

}  // namespace boxes3d
