// Rotated regions (image, cx, cy, w, h, angle) of bins of bilinear samples.
#pragma once
#include "regions.cuh"

namespace regions {

struct Rotated {
  static constexpr int columns = 6;

  // A region whose bins have the same samples each: where these are, and what one weighs.
  template <class A> struct Samples {
    A y, x, top, left, bh, bw, side, cosine, sine, weight;

    Samples() = default;
    __device__ Samples(const A* r, const Pooling<A>& p) {
      const Frame<A> o = frame(r, p);
      const A angle = p.clockwise ? -r[5] : r[5];
      y = o.y, x = o.x, bh = o.bh, bw = o.bw, side = A(p.sampling), cosine = cos(angle), sine = sin(angle);
      top = -bh * A(p.oh) / 2, left = -bw * A(p.ow) / 2, weight = 1 / side / side;
    }
    // Of bin (i, j), the v-th of the u-th row.
    __device__ void at(int i, int j, int u, int v, A& py, A& px) const {
      const A yy = top + A(i) * bh + (A(u) + A(0.5)) * bh / side, xx = left + A(j) * bw + (A(v) + A(0.5)) * bw / side;
      py = yy * cosine - xx * sine + y, px = yy * sine + xx * cosine + x;
    }
  };

  template <class A> static __device__ Frame<A> frame(const A* r, const Pooling<A>& p) {
    Frame<A> f;
    const A half = p.aligned ? A(0.5) : A(0);
    f.x = r[1] * p.scale - half, f.y = r[2] * p.scale - half;
    A width = r[3] * p.scale, height = r[4] * p.scale;
    if (!p.aligned) width = max(width, A(1)), height = max(height, A(1));
    count_samples(f, height, width, p);
    return f;
  }

  template <class A, class F>
  static __device__ void visit(const A* r, const Pooling<A>& p, int64_t, int i, int j, int h, int w, F&& f) {
    const Frame<A> o = frame(r, p);
    const A angle = p.clockwise ? -r[5] : r[5], c = cos(angle), s = sin(angle);
    const A top = -o.bh * A(p.oh) / 2 + A(i) * o.bh, left = -o.bw * A(p.ow) / 2 + A(j) * o.bw;
    // The map [-1, h] x [-1, w], seen from the region's centre, and a little more: rounding must not lose a sample on its
    // border; each is looked at again below.
    const A more = A(0.001), y0 = -1 - more - o.y, y1 = A(h) + more - o.y, x0 = -1 - more - o.x, x1 = A(w) + more - o.x;
    const A low = min(y0 * c, y1 * c) + min(x0 * s, x1 * s), high = max(y0 * c, y1 * c) + max(x0 * s, x1 * s);
    A from_y, from_x, fy, fx;
    int yl, yh, xl, xh;
    const int ny = bilinear::sample_range(top, o.bh, o.gh, low, high, from_y);
    const A weight = 1 / o.gh / o.gw;
    for (int u = 0; u < ny; ++u) {
      const A yy = top + (from_y + A(u) + A(0.5)) * o.bh / o.gh;
      A a = -INFINITY, b = INFINITY;
      if (s != 0) {
        const A m = (yy * c - y0) / s, n = (yy * c - y1) / s;
        a = min(m, n), b = max(m, n);
      }
      if (c != 0) {
        const A m = (x0 - yy * s) / c, n = (x1 - yy * s) / c;
        a = max(a, min(m, n)), b = min(b, max(m, n));
      }
      const int nx = a <= b ? bilinear::sample_range(left, o.bw, o.gw, a, b, from_x) : 0;
      for (int v = 0; v < nx; ++v) {
        const A xx = left + (from_x + A(v) + A(0.5)) * o.bw / o.gw;
        if (bilinear::neighbours(yy * c - xx * s + o.y, h, yl, yh, fy) && bilinear::neighbours(yy * s + xx * c + o.x, w, xl, xh, fx))
          bilinear::each_neighbour(yl, yh, fy, xl, xh, fx, weight, f);
      }
    }
  }
};

}  // namespace regions
