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

}  // namespace boxes3d
