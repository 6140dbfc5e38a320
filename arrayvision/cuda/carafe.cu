// Content-aware reassembly: a thread a column, so that neighbours read neighbouring weights, and a few channels (in the weights'
// gradient a few taps of a row), so that what these share is read once. Groups of channels are images of their own here.
#include "loops.cuh"

constexpr int SHARE = 8;

// out (N, channels, h * s, w * s) of x (N, channels, h, w) and masks (N, k * k, h * s, w * s); n counts groups of channels.
template <class T>
__global__ void __launch_bounds__(256) reassemble(int64_t n, const T* x, const T* masks, int channels, int h, int w, int k, int s, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const int columns = w * s, rows = h * s, parts = (channels + SHARE - 1) / SHARE, column = int(e % columns), row = int(e / columns % rows);
  const int64_t rest = e / columns / rows, image = rest / parts, size = int64_t(h) * w, large = int64_t(rows) * columns;
  const int c = int(rest % parts) * SHARE, left = column / s - k / 2, top = row / s - k / 2;
  const T* weights = masks + image * k * k * large + int64_t(row) * columns + column;
  const T* pixels = x + (image * channels + c) * size;
  A sums[SHARE] = {};
  for (int i = 0; i < k; ++i) {
    if (top + i < 0 || top + i >= h) continue;
    for (int j = 0; j < k; ++j) {
      if (left + j < 0 || left + j >= w) continue;
      const A weight = A(weights[(i * k + j) * large]);
      const T* pixel = pixels + int64_t(top + i) * w + left + j;
      for (int t = 0; t < SHARE; ++t)
        if (c + t < channels) sums[t] = fma(weight, A(pixel[t * size]), sums[t]);
    }
  }
  T* target = out + (image * channels + c) * large + int64_t(row) * columns + column;
  for (int t = 0; t < SHARE; ++t)
    if (c + t < channels) target[t * large] = T(sums[t]);
}

// The same for s = 2, the usual one: a thread has the four outputs of a pixel, which are sums of the same pixels, and SHARE channels. A
// warp has 32 pixels of a row, and the block's other warps their other channels, with the same weights. n counts warps.
template <class T> struct __align__(2 * sizeof(T)) Pair { T at[2]; };

template <class T>
__global__ void __launch_bounds__(256) reassemble_doubled(uint32_t n, uint64_t by_parts, uint64_t by_tiles, uint64_t by_rows, const T* x, const T* masks, int channels, int h, int w, int k, T* out) {
  using A = acc_t<T>;
  uint32_t t = loops::thread<uint32_t>() / WARP;
  if (t >= n) return;
  const int c = int(loops::split(t, loops::FastDivider<uint32_t>(by_parts))) * SHARE;
  const int column = int(loops::split(t, loops::FastDivider<uint32_t>(by_tiles)) * WARP + threadIdx.x % WARP);
  const int row = int(loops::split(t, loops::FastDivider<uint32_t>(by_rows))), left = column - k / 2, top = row - k / 2;
  if (column >= w) return;
  const int64_t size = int64_t(h) * w, at = int64_t(row) * 4 * w + 2 * column;  // of the first of the four outputs
  const int count = min(SHARE, channels - c);
  const T* weights = masks + int64_t(t) * k * k * 4 * size + at;
  const T* const pixels = x + (int64_t(t) * channels + c) * size;
  A sums[SHARE][4] = {};
  for (int i = 0; i < k; ++i) {
    if (top + i < 0 || top + i >= h) {
      weights += k * 4 * size;
      continue;
    }
    for (int j = 0; j < k; ++j, weights += 4 * size) {
      if (left + j < 0 || left + j >= w) continue;
      const Pair<T> above = *reinterpret_cast<const Pair<T>*>(weights), below = *reinterpret_cast<const Pair<T>*>(weights + 2 * w);
      const A weight[4] = {A(above.at[0]), A(above.at[1]), A(below.at[0]), A(below.at[1])};
      const T* pixel = pixels + int64_t(top + i) * w + left + j;
#pragma unroll
      for (int s = 0; s < SHARE; ++s) {
        const A value = A(*pixel);
        if (s + 1 < count) pixel += size;  // else the last channel again, whose sums are not stored
        for (int q = 0; q < 4; ++q) sums[s][q] = fma(weight[q], value, sums[s][q]);
      }
    }
  }
  T* target = out + (int64_t(t) * channels + c) * 4 * size + at;
#pragma unroll
  for (int s = 0; s < SHARE; ++s, target += 4 * size) {
    if (s >= count) break;
    *reinterpret_cast<Pair<T>*>(target) = {{T(sums[s][0]), T(sums[s][1])}};
    *reinterpret_cast<Pair<T>*>(target + 2 * w) = {{T(sums[s][2]), T(sums[s][3])}};
  }
}

// The maps' gradient, out (N, channels, h, w), from the result's; n counts groups of channels.
template <class T>
__global__ void __launch_bounds__(256) spread(int64_t n, const T* grad, const T* masks, int channels, int h, int w, int k, int s, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const int parts = (channels + SHARE - 1) / SHARE, x = int(e % w), y = int(e / w % h);
  const int64_t rest = e / w / h, image = rest / parts, columns = int64_t(w) * s, large = h * s * columns;
  const int c = int(rest % parts) * SHARE;
  const T *weights = masks + image * k * k * large, *grads = grad + (image * channels + c) * large;
  A sums[SHARE] = {};
  for (int i = 0; i < k; ++i) {
    const int v = y + k / 2 - i;  // the pixel whose tap (i, j) this one is
    if (v < 0 || v >= h) continue;
    for (int j = 0; j < k; ++j) {
      const int u = x + k / 2 - j;
      if (u < 0 || u >= w) continue;
      for (int p = 0; p < s; ++p)
        for (int q = 0; q < s; ++q) {
          const int64_t at = (int64_t(v) * s + p) * columns + int64_t(u) * s + q;
          const A weight = A(weights[(i * k + j) * large + at]);
          for (int t = 0; t < SHARE; ++t)
            if (c + t < channels) sums[t] = fma(weight, A(grads[t * large + at]), sums[t]);
        }
    }
  }
  for (int t = 0; t < SHARE; ++t)
    if (c + t < channels) out[((image * channels + c + t) * h + y) * w + x] = T(sums[t]);
}

// The weights' gradient, out (N, k * k, h * s, w * s); n counts groups of taps of a row.
template <class T>
__global__ void __launch_bounds__(256) compare(int64_t n, const T* grad, const T* x, int channels, int h, int w, int k, int s, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const int columns = w * s, rows = h * s, parts = (k + SHARE - 1) / SHARE, column = int(e % columns), row = int(e / columns % rows);
  int64_t rest = e / columns / rows;
  const int j = int(rest % parts) * SHARE, i = int(rest / parts % k);
  const int64_t image = rest / parts / k, size = int64_t(h) * w, large = int64_t(rows) * columns;
  const int y = row / s - k / 2 + i, left = column / s - k / 2 + j;
  A sums[SHARE] = {};
  if (y >= 0 && y < h) {
    bool inside[SHARE];
    for (int t = 0; t < SHARE; ++t) inside[t] = j + t < k && left + t >= 0 && left + t < w;
    const T *grads = grad + image * channels * large + int64_t(row) * columns + column, *pixels = x + image * channels * size + int64_t(y) * w;
    for (int c = 0; c < channels; ++c, grads += large, pixels += size) {
      const A value = A(*grads);
      for (int t = 0; t < SHARE; ++t)
        if (inside[t]) sums[t] = fma(value, A(pixels[left + t]), sums[t]);
    }
  }
  for (int t = 0; t < SHARE; ++t)
    if (j + t < k) out[(image * k * k + i * k + j + t) * large + int64_t(row) * columns + column] = T(sums[t]);
}
