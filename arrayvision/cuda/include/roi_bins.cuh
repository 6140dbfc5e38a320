// Pooling of bins of bilinear samples: where samples lie for each kind of region, and the kernels that sum over them.
//
// `visit` calls f(row, column, weight) for the pixels that a bin's samples touch. Samples outside the map add nothing and
// are skipped by arithmetic, whatever the region's size. A thread holds a bin and GROUP channels: in memory order (B, C, H, W)
// neighbouring threads hold neighbouring bins, in (B, H, W, C) neighbouring channels.
#pragma once
#include "prelude.cuh"
#include "sums.cuh"

constexpr int ALIGN = 0, PRECISE = 1, BEZIER = 2, ROTATED = 3;
constexpr int GROUP = 4, LANES = 32;

// Samples start + (k + 0.5) * size / g of k < g within about [low, high]: the first k, and how many.
template <class A> __device__ inline int reach(A start, A size, A g, A low, A high, A& from) {
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
template <class A> __device__ inline bool place(A p, int length, int& low, int& high, A& share) {
  if (!(p >= -1 && p <= length && length > 0)) return false;
  p = max(p, A(0));
  low = int(p), high = low + 1, share = p - A(low);
  if (low >= length - 1) low = high = length - 1, share = 0;
  return true;
}

template <class A, class F> __device__ inline void four(int yl, int yh, A fy, int xl, int xh, A fx, A weight, F&& f) {
  f(yl, xl, weight * (1 - fy) * (1 - fx));
  if (fx > 0) f(yl, xh, weight * (1 - fy) * fx);
  if (fy > 0) f(yh, xl, weight * fy * (1 - fx));
  if (fx > 0 && fy > 0) f(yh, xh, weight * fy * fx);
}

template <class A, class F> __device__ inline void grid(A top, A left, A bh, A bw, A gh, A gw, int h, int w, F&& f) {
  A from_y, from_x, fy, fx;
  int yl, yh, xl, xh;
  const int ny = reach(top, bh, gh, A(-1), A(h), from_y), nx = reach(left, bw, gw, A(-1), A(w), from_x);
  const A weight = 1 / gh / gw;
  for (int u = 0; u < ny; ++u) {
    if (!place(top + (from_y + A(u) + A(0.5)) * bh / gh, h, yl, yh, fy)) continue;
    for (int v = 0; v < nx; ++v)
      if (place(left + (from_x + A(v) + A(0.5)) * bw / gw, w, xl, xh, fx)) four(yl, yh, fy, xl, xh, fx, weight, f);
  }
}

template <class A> struct Frame { A y, x, bh, bw, gh, gw; };

template <class A> __device__ inline void count(Frame<A>& f, A height, A width, int sampling, int oh, int ow) {
  f.bh = height / A(oh), f.bw = width / A(ow);
  f.gh = sampling > 0 ? A(sampling) : ceil(f.bh), f.gw = sampling > 0 ? A(sampling) : ceil(f.bw);
}

template <int KIND, class A> __device__ inline Frame<A> frame(const A* r, A scale, int sampling, bool aligned, int oh, int ow) {
  Frame<A> f;
  A height, width, half = aligned ? A(0.5) : A(0);
  if (KIND == BEZIER) {
    width = max(abs(r[1] * scale - r[7] * scale), abs(r[15] * scale - r[9] * scale));
    height = max(abs(r[2] * scale - r[8] * scale), abs(r[16] * scale - r[10] * scale));
    f.x = f.y = 0;
  } else if (KIND == ROTATED) {
    f.x = r[1] * scale - half, f.y = r[2] * scale - half, width = r[3] * scale, height = r[4] * scale;
  } else {
    if (KIND == PRECISE) half = 0;
    f.x = r[1] * scale - half, f.y = r[2] * scale - half;
    width = (r[3] * scale - half) - f.x, height = (r[4] * scale - half) - f.y;
  }
  if (KIND == PRECISE) width = max(width, A(0)), height = max(height, A(0));
  else if (!aligned) width = max(width, A(1)), height = max(height, A(1));
  count(f, height, width, sampling, oh, ow);
  if (KIND == ALIGN || KIND == PRECISE) {  // a small region far out: the difference of shifted corners has few digits left
    width = (r[3] - r[1]) * scale, height = (r[4] - r[2]) * scale;
    if (KIND == PRECISE) width = max(width, A(0)), height = max(height, A(0));
    else if (!aligned) width = max(width, A(1)), height = max(height, A(1));
    f.bh = height / A(oh), f.bw = width / A(ow);
  }
  return f;
}

template <class A> __device__ inline A curve(A a, A b, A c, A d, A u) {
  const A v = 1 - u;
  return v * v * v * a + 3 * u * v * v * b + 3 * u * u * v * c + u * u * u * d;
}

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

template <int KIND, class A, class F>
__device__ inline void visit(const A* r, A scale, int sampling, bool aligned, bool clockwise, bool moved, const A* offset, A gamma,
                             int oh, int ow, int i, int j, int h, int w, F&& f) {
  const Frame<A> o = frame<KIND>(r, scale, sampling, aligned, oh, ow);
  if (KIND == PRECISE) {
    const A top = o.y + A(i) * o.bh, left = o.x + A(j) * o.bw;
    int y0, y1, x0, x1;
    touched(top, o.bh, h, y0, y1);
    touched(left, o.bw, w, x0, x1);
    for (int y = y0; y < y1; ++y)
      for (int x = x0; x < x1; ++x) f(y, x, share_of(top, o.bh, y).weight * share_of(left, o.bw, x).weight);
  } else if (KIND == BEZIER) {
    const A u = A(j) / A(ow), v = A(i) / A(oh), half = aligned ? A(0.5) : A(0);
    const A x0 = curve(r[1], r[3], r[5], r[7], u), y0 = curve(r[2], r[4], r[6], r[8], u);
    const A x1 = curve(r[15], r[13], r[11], r[9], u), y1 = curve(r[16], r[14], r[12], r[10], u);
    const A y = (y1 * v + y0 * (1 - v)) * scale - half, x = (x1 * v + x0 * (1 - v)) * scale - half;
    grid(y - o.bh / 2, x - o.bw / 2, o.bh, o.bw, o.gh, o.gw, h, w, f);
  } else if (KIND == ROTATED) {
    const A angle = clockwise ? -r[5] : r[5], c = cos(angle), s = sin(angle);
    const A top = -o.bh * A(oh) / 2 + A(i) * o.bh, left = -o.bw * A(ow) / 2 + A(j) * o.bw;
    // The map [-1, h] x [-1, w], seen from the region's centre, and a little more: rounding must not lose a sample on its
    // border; each is looked at again below.
    const A more = A(0.001), y0 = -1 - more - o.y, y1 = A(h) + more - o.y, x0 = -1 - more - o.x, x1 = A(w) + more - o.x;
    const A low = min(y0 * c, y1 * c) + min(x0 * s, x1 * s), high = max(y0 * c, y1 * c) + max(x0 * s, x1 * s);
    A from_y, from_x, fy, fx;
    int yl, yh, xl, xh;
    const int ny = reach(top, o.bh, o.gh, low, high, from_y);
    const A weight = 1 / o.gh / o.gw;
    for (int u = 0; u < ny; ++u) {
      const A yy = top + (from_y + A(u) + A(0.5)) * o.bh / o.gh;
      A a = -INFINITY, b = INFINITY;
      if (s != 0) {
        const A p = (yy * c - y0) / s, q = (yy * c - y1) / s;
        a = min(p, q), b = max(p, q);
      }
      if (c != 0) {
        const A p = (x0 - yy * s) / c, q = (x1 - yy * s) / c;
        a = max(a, min(p, q)), b = min(b, max(p, q));
      }
      const int nx = a <= b ? reach(left, o.bw, o.gw, a, b, from_x) : 0;
      for (int v = 0; v < nx; ++v) {
        const A xx = left + (from_x + A(v) + A(0.5)) * o.bw / o.gw;
        if (place(yy * c - xx * s + o.y, h, yl, yh, fy) && place(yy * s + xx * c + o.x, w, xl, xh, fx))
          four(yl, yh, fy, xl, xh, fx, weight, f);
      }
    }
  } else {
    A top = o.y + A(i) * o.bh, left = o.x + A(j) * o.bw;
    if (moved) {
      left += gamma * o.bw * A(ow) * offset[i * ow + j];
      top += gamma * o.bh * A(oh) * offset[(oh + i) * ow + j];
    }
    grid(top, left, o.bh, o.bw, o.gh, o.gw, h, w, f);
  }
}

template <int KIND> __device__ constexpr int columns() { return KIND == BEZIER ? 17 : KIND == ROTATED ? 6 : 5; }

// Whether a region's numbers are finite and its batch index names an image.
template <class A> __device__ inline bool valid(const A* roi, int columns, int batch) {
  bool good = roi[0] > -1 && roi[0] < A(batch);
  for (int i = 0; i < columns; ++i) good = good && finite(roi[i]);
  return good;
}

// What thread t computes: a region k, a bin and channels c, c + step, ... (GROUP of them, below `channels`).
struct Task {
  int64_t k;
  int bin, c, step;
  __device__ Task(int64_t t, bool last, int bins, int channels) {
    if (last) {
      const int tiles = (channels + LANES * GROUP - 1) / (LANES * GROUP), lane = int(t % LANES);
      t /= LANES;
      c = int(t % tiles) * LANES * GROUP + lane, step = LANES, t /= tiles;
      bin = int(t % bins), k = t / bins;
    } else {
      const int groups = (channels + GROUP - 1) / GROUP;
      bin = int(t % bins), t /= bins;
      c = int(t % groups) * GROUP, step = 1, k = t / groups;
    }
  }
};

template <class T, int KIND>
__global__ void __launch_bounds__(256) pool(int64_t n, const T* x, bool last, const acc_t<T>* rois, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, T* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const Task task(t, last, oh * ow, channels);
    const A* roi = rois + task.k * columns<KIND>();
    const bool good = valid(roi, columns<KIND>(), batch);
    const int64_t image = good ? int64_t(roi[0]) : 0, size = int64_t(h) * w;
    const int64_t along = last ? 1 : size, pixel = last ? channels : 1;
    const T* const source = x + image * channels * size + task.c * along;
    A sum[GROUP] = {};
    if (good)
      visit<KIND>(roi, scale, sampling, aligned, clockwise, moved, offset + task.k * 2 * oh * ow, gamma, oh, ow, task.bin / ow, task.bin % ow, h, w,
                  [&](int r, int c, A weight) {
                    const T* p = source + (int64_t(r) * w + c) * pixel;
                    for (int g = 0; g < GROUP; ++g)
                      if (task.c + g * task.step < channels) sum[g] += weight * A(p[int64_t(g) * task.step * along]);
                  });
    for (int g = 0; g < GROUP; ++g) {
      const int c = task.c + g * task.step;
      if (c < channels) out[(task.k * channels + c) * oh * ow + task.bin] = T(good ? sum[g] : A(NAN));
    }
  }
}

// The features' gradient, (B, C, H, W), added to out.
template <class T, int KIND>
__global__ void __launch_bounds__(256) spread(int64_t n, const T* grad, const acc_t<T>* rois, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const Task task(t, false, oh * ow, channels);
    const A* roi = rois + task.k * columns<KIND>();
    if (!valid(roi, columns<KIND>(), batch)) continue;
    const int64_t size = int64_t(h) * w;
    A* const target = out + (int64_t(roi[0]) * channels + task.c) * size;
    const int some = min(GROUP, channels - task.c);
    A g[GROUP];
    for (int i = 0; i < some; ++i) g[i] = A(grad[(task.k * channels + task.c + i) * oh * ow + task.bin]);
    visit<KIND>(roi, scale, sampling, aligned, clockwise, moved, offset + task.k * 2 * oh * ow, gamma, oh, ow, task.bin / ow, task.bin % ow, h, w,
                [&](int r, int c, A weight) {
                  for (int i = 0; i < some; ++i) sums::add(target + i * size + int64_t(r) * w + c, weight * g[i], false);
                });
  }
}

// The same in a fixed order: a thread holds an image's channel and goes through all regions. Slow, the same in every run.
template <class T, int KIND>
__global__ void __launch_bounds__(256) spread_in_order(int64_t n, int64_t regions, const T* grad, const acc_t<T>* rois, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    A* const target = out + t * h * w;
    for (int64_t k = 0; k < regions; ++k) {
      const A* roi = rois + k * columns<KIND>();
      if (!valid(roi, columns<KIND>(), batch) || int64_t(roi[0]) != t / channels) continue;
      for (int bin = 0; bin < oh * ow; ++bin) {
        const A g = A(grad[(k * channels + t % channels) * oh * ow + bin]);
        visit<KIND>(roi, scale, sampling, aligned, clockwise, moved, offset + k * 2 * oh * ow, gamma, oh, ow, bin / ow, bin % ow, h, w,
                    [&](int r, int c, A weight) { sums::add(target + int64_t(r) * w + c, weight * g, true); });
      }
    }
  }
}
