// Bilinear samples of a map: which of a row of them lie inside, and the pixels and weights that each takes.
#pragma once
#include "prelude.cuh"

namespace bilinear {

// Of samples at start + (k + 0.5) * size / g (k < g), those within about [low, high]: the first k, and how many.
template <class A> __device__ inline int sample_range(A start, A size, A g, A low, A high, A& from) {
  from = 0;
  if (!(finite(start) && finite(size) && finite(g) && g > 0)) return 0;
  A to = g;
  const A step = size / g;
  if (step != 0) {
    const A a = (low - start) / step - A(0.5), b = (high - start) / step - A(0.5);
    from = max(from, floor(min(a, b)) - 1), to = min(to, ceil(max(a, b)) + 2);
  }
  return to > from ? int(min(to - from, A(1 << 30))) : 0;
}

// The pixel below a position, the one above (equal at the border) and that one's share; false further than 1 outside.
template <class A> __device__ inline bool neighbours(A p, int length, int& low, int& high, A& share) {
  if (!(p >= -1 && p <= length && length > 0)) return false;
  p = max(p, A(0));
  low = int(p), high = low + 1, share = p - A(low);
  if (low >= length - 1) low = high = length - 1, share = 0;
  return true;
}

// f(row, column, weight) for the pixels round a position that have a share in its value.
template <class A, class F> __device__ inline void each_neighbour(int yl, int yh, A fy, int xl, int xh, A fx, A weight, F&& f) {
  f(yl, xl, weight * (1 - fy) * (1 - fx));
  if (fx > 0) f(yl, xh, weight * (1 - fy) * fx);
  if (fy > 0) f(yh, xl, weight * fy * (1 - fx));
  if (fx > 0 && fy > 0) f(yh, xh, weight * fy * fx);
}

// The same for all of gh x gw samples of an upright bin, whose average it is.
template <class A, class F> __device__ inline void each_sample(A top, A left, A bh, A bw, A gh, A gw, int h, int w, F&& f) {
  A from_y, from_x, fy, fx;
  int yl, yh, xl, xh;
  const int ny = sample_range(top, bh, gh, A(-1), A(h), from_y), nx = sample_range(left, bw, gw, A(-1), A(w), from_x);
  const A weight = 1 / gh / gw;
  for (int u = 0; u < ny; ++u) {
    if (!neighbours(top + (from_y + A(u) + A(0.5)) * bh / gh, h, yl, yh, fy)) continue;
    for (int v = 0; v < nx; ++v)
      if (neighbours(left + (from_x + A(v) + A(0.5)) * bw / gw, w, xl, xh, fx)) each_neighbour(yl, yh, fy, xl, xh, fx, weight, f);
  }
}

}  // namespace bilinear
