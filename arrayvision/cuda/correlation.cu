// Correlation of two maps: a thread a position, so that neighbours read neighbouring pixels, and four displacements (in the
// gradients four channels), so that what these share is read once.
#include "loops.cuh"

constexpr int SHARE = 4;


// out (N, patch, patch, rows, columns) of a and b (N, channels, h, w); n counts groups of displacements of a row.
template <class T>
__global__ void __launch_bounds__(256) correlate(int64_t n, const T* a, const T* b, int channels, int h, int w, int patch, int rows, int columns, int kh, int kw, int sy, int sx, int py, int px, int dy, int dx, int gy, int gx, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const int groups = (patch + SHARE - 1) / SHARE, x = int(e % columns), y = int(e / columns % rows);
  const int64_t rest = e / columns / rows;
  const int q = int(rest % groups) * SHARE, p = int(rest / groups % patch);
  const int64_t image = rest / groups / patch, size = int64_t(h) * w;
  const int radius = patch / 2;
  A sums[SHARE] = {};
  for (int tap = 0; tap < kh * kw; ++tap) {
    const int64_t y1 = int64_t(y) * sy - py + int64_t(tap / kw) * dy, x1 = int64_t(x) * sx - px + int64_t(tap % kw) * dx;
    const int64_t y2 = y1 + int64_t(p - radius) * gy, x2 = x1 + int64_t(q - radius) * gx;
    if (y1 < 0 || y1 >= h || x1 < 0 || x1 >= w || y2 < 0 || y2 >= h) continue;
    bool inside[SHARE];
    for (int t = 0; t < SHARE; ++t) inside[t] = q + t < patch && x2 + int64_t(t) * gx >= 0 && x2 + int64_t(t) * gx < w;
    const T *first = a + image * channels * size + y1 * w + x1, *second = b + image * channels * size + y2 * w;
    for (int c = 0; c < channels; ++c, first += size, second += size) {
      const A value = A(*first);
      for (int t = 0; t < SHARE; ++t)
        if (inside[t]) sums[t] += value * A(second[x2 + int64_t(t) * gx]);
    }
  }
  for (int t = 0; t < SHARE; ++t)
    if (q + t < patch) out[(((image * patch + p) * patch + q + t) * rows + y) * columns + x] = T(sums[t]);
}

// The gradient for the first map (sign 1) or the second (-1), out (N, channels, h, w), from that of the result and the other
// map; n counts groups of an image's channels.
template <class T>
__global__ void __launch_bounds__(256) spread(int64_t n, const T* grad, const T* other, int sign, int channels, int h, int w, int patch, int rows, int columns, int kh, int kw, int sy, int sx, int py, int px, int dy, int dx, int gy, int gx, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const int groups = (channels + SHARE - 1) / SHARE, x = int(e % w), y = int(e / w % h);
  const int64_t rest = e / w / h, image = rest / groups, size = int64_t(h) * w;
  const int c = int(rest % groups) * SHARE, radius = patch / 2;
  const T* values = other + (image * channels + c) * size;
  A sums[SHARE] = {};
  for (int p = 0; p < patch; ++p) {
    const int64_t moved = y + int64_t(sign) * (p - radius) * gy;  // the other map's row
    if (moved < 0 || moved >= h) continue;
    for (int q = 0; q < patch; ++q) {
      const int64_t beside = x + int64_t(sign) * (q - radius) * gx;
      if (beside < 0 || beside >= w) continue;
      const int64_t y1 = sign > 0 ? y : moved, x1 = sign > 0 ? x : beside;
      A g = 0;
      for (int i = 0; i < kh; ++i) {
        const int64_t v = y1 + py - int64_t(i) * dy;
        if (v < 0 || v % sy != 0 || v / sy >= rows) continue;
        for (int j = 0; j < kw; ++j) {
          const int64_t u = x1 + px - int64_t(j) * dx;
          if (u < 0 || u % sx != 0 || u / sx >= columns) continue;
          g += A(grad[(((image * patch + p) * patch + q) * rows + v / sy) * columns + u / sx]);
        }
      }
      for (int t = 0; t < SHARE; ++t)
        if (c + t < channels) sums[t] += g * A(values[t * size + moved * w + beside]);
    }
  }
  for (int t = 0; t < SHARE; ++t)
    if (c + t < channels) out[(image * channels + c + t) * size + int64_t(y) * w + x] = T(sums[t]);
}
