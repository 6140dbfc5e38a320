// Upright regions (image, x1, y1, x2, y2) of bins of bilinear samples, which offsets may move: RoIAlign, deformable pooling.
#pragma once
#include "regions.cuh"

namespace regions {

struct Align {
  static constexpr int columns = 5;

  template <class A> static __device__ Frame<A> frame(const A* r, const Pooling<A>& p) {
    Frame<A> f;
    const A half = p.aligned ? A(0.5) : A(0);
    f.x = r[1] * p.scale - half, f.y = r[2] * p.scale - half;
    A width = (r[3] * p.scale - half) - f.x, height = (r[4] * p.scale - half) - f.y;
    if (!p.aligned) width = max(width, A(1)), height = max(height, A(1));
    count_samples(f, height, width, p);
    // A small region far out: the difference of shifted corners has few digits left.
    width = (r[3] - r[1]) * p.scale, height = (r[4] - r[2]) * p.scale;
    if (!p.aligned) width = max(width, A(1)), height = max(height, A(1));
    f.bh = height / A(p.oh), f.bw = width / A(p.ow);
    return f;
  }

  template <class A, class F> static __device__ void taps(A start, A size, A g, int length, F&& f) {
    A from, share;
    int low, high;
    const int n = bilinear::sample_range(start, size, g, A(-1), A(length), from);
    for (int u = 0; u < n; ++u) {
      const A k = from + A(size < 0 ? n - 1 - u : u);
      if (!bilinear::neighbours(start + (k + A(0.5)) * size / g, length, low, high, share)) continue;
      f(low, (1 - share) / g);
      if (share > 0) f(high, share / g);
    }
  }

  template <class A, class F>
  static __device__ void visit(const A* r, const Pooling<A>& p, int64_t region, int i, int j, int h, int w, F&& f) {
    const Frame<A> o = frame(r, p);
    A top = o.y + A(i) * o.bh, left = o.x + A(j) * o.bw;
    if (p.offset) {
      const A* const offset = p.offset + region * 2 * p.oh * p.ow;
      left += p.gamma * o.bw * A(p.ow) * offset[i * p.ow + j];
      top += p.gamma * o.bh * A(p.oh) * offset[(p.oh + i) * p.ow + j];
    }
    bilinear::each_sample(top, left, o.bh, o.bw, o.gh, o.gw, h, w, f);
  }
};

}  // namespace regions
