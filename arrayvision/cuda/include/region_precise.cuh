// Upright regions (image, x1, y1, x2, y2) whose bins are integrals of the interpolated map: precise RoI pooling.
#pragma once
#include "regions.cuh"

namespace regions {

// The integral of the hat function max(0, 1 - |t|) up to u.
template <class A> __device__ inline A ramp(A u) {
  if (u <= -1) return 0;
  if (u >= 1) return 1;
  return u < 0 ? A(0.5) * (1 + u) * (1 + u) : 1 - A(0.5) * (1 - u) * (1 - u);
}

template <class A> __device__ inline A hat(A t) { return max(A(0), 1 - abs(t)); }

// The weight of a pixel in the exact average over [start, start + size], and its derivatives by where that starts and stops.
// Small intervals are those of a line or a parabola: differences of integrals, divided by the size twice, would be noise.
template <class A> struct Share { A weight, by_start, by_stop; };
template <class A> __device__ inline Share<A> share_of(A start, A size, int pixel) {
  const A a = start - A(pixel), b = a + size, half = A(0.5);
  if (b <= -1 || a >= 1) return {A(0), A(0), A(0)};
  if (a >= -1 && b <= 0) return {half * (hat(a) + hat(b)), half, half};
  if (a >= 0 && b <= 1) return {half * (hat(a) + hat(b)), -half, -half};
  if (a >= -1 && b <= 1) {
    const A less = (a * a + b * b) / (2 * size);
    return {1 - less, (-a - less) / size, (less - b) / size};
  }
  if (b <= 0) {
    const A part = (b + 1) * (b + 1) / (2 * size);
    return {part, part / size, (b + 1 - part) / size};
  }
  if (a >= 0) {
    const A part = (1 - a) * (1 - a) / (2 * size);
    return {part, (part - (1 - a)) / size, -part / size};
  }
  const A part = (ramp(b) - ramp(a)) / size;
  return {part, (part - hat(a)) / size, (hat(b) - part) / size};
}

// Pixels inside the map that [start, start + size] touches: the first and the one after the last.
template <class A> __device__ inline void touched(A start, A size, int length, int& from, int& to) {
  const bool some = size > 0 && finite(size) && finite(start);
  from = some ? int(min(max(floor(start), A(0)), A(length))) : 0;
  to = some ? int(min(max(ceil(start + size) + 1, A(0)), A(length))) : 0;
}

struct Precise {
  static constexpr int columns = 5;

  template <class A> static __device__ Frame<A> frame(const A* r, const Pooling<A>& p) {
    const A width = max((r[3] - r[1]) * p.scale, A(0)), height = max((r[4] - r[2]) * p.scale, A(0));
    return {r[2] * p.scale, r[1] * p.scale, height / A(p.oh), width / A(p.ow), A(0), A(0)};
  }

  template <class A, class F> static __device__ void taps(A start, A size, A, int length, F&& f) {
    int from, to;
    touched(start, size, length, from, to);
    for (int p = from; p < to; ++p) f(p, share_of(start, size, p).weight);
  }

  template <class A, class F>
  static __device__ void visit(const A* r, const Pooling<A>& p, int64_t, int i, int j, int h, int w, F&& f) {
    const Frame<A> o = frame(r, p);
    const A top = o.y + A(i) * o.bh, left = o.x + A(j) * o.bw;
    int y0, y1, x0, x1;
    touched(top, o.bh, h, y0, y1);
    touched(left, o.bw, w, x0, x1);
    for (int y = y0; y < y1; ++y)
      for (int x = x0; x < x1; ++x) f(y, x, share_of(top, o.bh, y).weight * share_of(left, o.bw, x).weight);
  }
};

}  // namespace regions
