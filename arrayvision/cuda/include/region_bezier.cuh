// Regions between two cubic Bezier curves (image, 8 points): BezierAlign.
#pragma once
#include "regions.cuh"

namespace regions {

template <class A> __device__ inline A curve(A a, A b, A c, A d, A u) {
  const A v = 1 - u;
  return v * v * v * a + 3 * u * v * v * b + 3 * u * u * v * c + u * u * u * d;
}

struct Bezier {
  static constexpr int columns = 17;

  template <class A> static __device__ Frame<A> frame(const A* r, const Pooling<A>& p) {
    Frame<A> f;
    const A scale = p.scale;
    A width = max(abs(r[1] * scale - r[7] * scale), abs(r[15] * scale - r[9] * scale));
    A height = max(abs(r[2] * scale - r[8] * scale), abs(r[16] * scale - r[10] * scale));
    f.x = f.y = 0;
    if (!p.aligned) width = max(width, A(1)), height = max(height, A(1));
    count_samples(f, height, width, p);
    return f;
  }

  template <class A, class F>
  static __device__ void visit(const A* r, const Pooling<A>& p, int64_t, int i, int j, int h, int w, F&& f) {
    const Frame<A> o = frame(r, p);
    const A u = A(j) / A(p.ow), v = A(i) / A(p.oh), half = p.aligned ? A(0.5) : A(0);
    const A x0 = curve(r[1], r[3], r[5], r[7], u), y0 = curve(r[2], r[4], r[6], r[8], u);
    const A x1 = curve(r[15], r[13], r[11], r[9], u), y1 = curve(r[16], r[14], r[12], r[10], u);
    const A y = (y1 * v + y0 * (1 - v)) * p.scale - half, x = (x1 * v + x0 * (1 - v)) * p.scale - half;
    bilinear::each_sample(y - o.bh / 2, x - o.bw / 2, o.bh, o.bw, o.gh, o.gw, h, w, f);
  }
};

}  // namespace regions
