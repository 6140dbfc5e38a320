// Axis-aligned boxes as the suppressions hold them.
#pragma once
#include "prelude.cuh"

template <class A> struct __align__(16) AxisAligned {
  A x1, y1, x2, y2, area;  // the area is NaN where it isn't finite or no side is positive: such a box overlaps nothing
  static constexpr int columns = 4;
  static constexpr bool costly = false;  // to compare
  using Rough = AxisAligned;  // all that is compared

  template <class T> __device__ void load(const T* box, A offset) {
    x1 = A(box[0]), y1 = A(box[1]), x2 = A(box[2]), y2 = A(box[3]);
    const A w = x2 - x1 + offset, h = y2 - y1 + offset;
    area = w * h;
    if (!(w > 0 && h > 0 && area > 0 && finite(area))) area = A(NAN);
  }
  __device__ const Rough& rough() const { return *this; }
  __device__ A shared_with(const AxisAligned& o, A offset) const {
    const A w = max(min(x2, o.x2) - max(x1, o.x1) + offset, A(0)), h = max(min(y2, o.y2) - max(y1, o.y1) + offset, A(0));
    return w * h;
  }
};
