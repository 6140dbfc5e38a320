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
    const int y1 = y * sy - py + tap / kw * dy, x1 = x * sx - px + tap % kw * dx;
    const int y2 = y1 + (p - radius) * gy, x2 = x1 + (q - radius) * gx;
    if (y1 < 0 || y1 >= h || x1 < 0 || x1 >= w || y2 < 0 || y2 >= h) continue;
    bool inside[SHARE];
    for (int t = 0; t < SHARE; ++t) inside[t] = q + t < patch && x2 + t * gx >= 0 && x2 + t * gx < w;
    const T *first = a + image * channels * size + int64_t(y1) * w + x1, *second = b + image * channels * size + int64_t(y2) * w;
    for (int c = 0; c < channels; ++c, first += size, second += size) {
      const A value = A(*first);
      for (int t = 0; t < SHARE; ++t)
        if (inside[t]) sums[t] = fma(value, A(second[x2 + t * gx]), sums[t]);
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
    const int moved = y + sign * (p - radius) * gy;  // the other map's row
    if (moved < 0 || moved >= h) continue;
    for (int q = 0; q < patch; ++q) {
      const int beside = x + sign * (q - radius) * gx;
      if (beside < 0 || beside >= w) continue;
      const T* g = grad + ((image * patch + p) * patch + q) * rows * columns;
      A sum = 0;
      for (int i = 0; i < kh; ++i) {
        const int v = (sign > 0 ? y : moved) + py - i * dy;
        if (v < 0 || v % sy != 0 || v / sy >= rows) continue;
        for (int j = 0; j < kw; ++j) {
          const int u = (sign > 0 ? x : beside) + px - j * dx;
          if (u >= 0 && u % sx == 0 && u / sx < columns) sum += A(g[int64_t(v / sy) * columns + u / sx]);
        }
      }
      for (int t = 0; t < SHARE; ++t)
        if (c + t < channels) sums[t] += sum * A(values[t * size + int64_t(moved) * w + beside]);
    }
  }
  for (int t = 0; t < SHARE; ++t)
    if (c + t < channels) out[(image * channels + c + t) * size + int64_t(y) * w + x] = T(sums[t]);
}
