// Multi-scale deformable attention. A thread holds some neighbouring channels of a head, which it loads 16 bytes at a time
// where they lie so; neighbouring threads hold neighbouring channels.
#include "channels.cuh"
#include "loops.cuh"
#include "sums.cuh"

// The four pixels round a sample, -1 outside its level, their weights, and how far the sample lies from the first of them.
template <class A> struct Sample { int64_t pixel[4]; A weight[4], fy, fx; };

template <class A> __device__ inline Sample<A> sample_at(A x, A y, int64_t start, int h, int w) {
  if (!(y > -1 && x > -1 && y < A(h) && x < A(w))) return {{-1, -1, -1, -1}, {0, 0, 0, 0}, 0, 0};  // NaN too
  const A top = floor(y), left = floor(x), fy = y - top, fx = x - left;
  const int i = int(top), j = int(left);
  const int64_t p = start + int64_t(i) * w + j;
  const bool above = i >= 0, below = i < h - 1, before = j >= 0, behind = j < w - 1;
  return {{above && before ? p : -1, above && behind ? p + 1 : -1, below && before ? p + w : -1, below && behind ? p + w + 1 : -1},
          {above && before ? (1 - fy) * (1 - fx) : A(0), above && behind ? (1 - fy) * fx : A(0),
           below && before ? fy * (1 - fx) : A(0), below && behind ? fy * fx : A(0)}, fy, fx};
}

// f(number of the sample, its level's height and width, sample) for a head's samples; a level that is not within the `keys` has none.
template <class A, class F>
__device__ inline void each_sample(const int64_t* shapes, bool given, const int64_t* starts, int levels, int points, int64_t keys, const A* locations, F&& f) {
  int64_t next = 0;
  for (int level = 0; level < levels; ++level) {
    const int64_t h = shapes[level * 2], w = shapes[level * 2 + 1], start = given ? starts[level] : next;
    const bool inside = h > 0 && w > 0 && h <= keys && w <= keys && start >= 0 && start <= keys - h * w;  // keys < 2**31
    next += h > 0 && w > 0 && h <= keys && w <= keys ? min(h * w, keys + 1) : 0;
    for (int k = level * points; k < (level + 1) * points; ++k) {
      const A x = locations[k * 2] * A(w) - A(0.5), y = locations[k * 2 + 1] * A(h) - A(0.5);
      f(k, int(h), int(w), inside ? sample_at(x, y, start, int(h), int(w)) : sample_at(A(-2), A(-2), 0, 0, 0));
    }
  }
}

// out (images, queries, heads, channels); a thread V channels.
template <class T, int V>
__global__ void __launch_bounds__(256) attend(uint32_t n, uint64_t by_parts, uint64_t by_heads, uint64_t by_queries, const T* value, const int64_t* shapes, bool given, const int64_t* starts, int levels, int points, int64_t keys, const acc_t<T>* locations, const acc_t<T>* weights, T* out) {
  using A = acc_t<T>;
  uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const loops::FastDivider<uint32_t> parts(by_parts), heads(by_heads);
  const uint32_t part = loops::split(t, parts);
  const int64_t head = t, samples = int64_t(levels) * points, row = int64_t(heads.divisor) * parts.divisor;
  const uint32_t m = loops::split(t, heads), b = loops::FastDivider<uint32_t>(by_queries).quotient(t);
  const auto* const pixels = reinterpret_cast<const Channels<T, V>*>(value) + (int64_t(b) * keys * heads.divisor + m) * parts.divisor + part;
  const A* const counts = weights + head * samples;
  A sums[V];
  for (int c = 0; c < V; ++c) sums[c] = 0;
  each_sample(shapes, given, starts, levels, points, keys, locations + head * samples * 2, [&](int k, int, int, const Sample<A>& s) {
    for (int corner = 0; corner < 4; ++corner) {
      const A weight = s.weight[corner] * counts[k];
      if (s.weight[corner] == 0 || weight == 0) continue;
      const Channels<T, V> pixel = pixels[s.pixel[corner] * row];
      for (int c = 0; c < V; ++c) sums[c] = fma(weight, A(pixel.at[c]), sums[c]);
    }
  });
  Channels<T, V> result;
  for (int c = 0; c < V; ++c) result.at[c] = T(sums[c]);
  reinterpret_cast<Channels<T, V>*>(out)[head * parts.divisor + part] = result;
}

// The gradients of locations and weights, and, if `scatter`, of the value, which is added to sums. `lanes` neighbouring threads, a
// power of two up to a warp, share the channels of a query's head.
template <class T, int V>
__global__ void __launch_bounds__(256) slopes(uint32_t n, int lanes, uint64_t by_heads, uint64_t by_queries, int parts, bool scatter, const T* grad, const T* value, const int64_t* shapes, bool given, const int64_t* starts, int levels, int points, int64_t keys, const acc_t<T>* locations, const acc_t<T>* weights, acc_t<T>* sums, acc_t<T>* for_locations, acc_t<T>* for_weights) {
  using A = acc_t<T>;
  const uint32_t thread = loops::thread<uint32_t>();
  const bool mine = thread < n;  // all lanes of a warp take part in its sums
  const int lane = int(thread % uint32_t(lanes));
  uint32_t t = mine ? thread / uint32_t(lanes) : 0;
  const loops::FastDivider<uint32_t> heads(by_heads);
  const int64_t head = t, samples = int64_t(levels) * points, row = int64_t(heads.divisor) * parts;
  const uint32_t m = loops::split(t, heads), b = loops::FastDivider<uint32_t>(by_queries).quotient(t);
  const int64_t first = (int64_t(b) * keys * heads.divisor + m) * parts;
  const auto* const pixels = reinterpret_cast<const Channels<T, V>*>(value) + first;
  const auto* const given_back = reinterpret_cast<const Channels<T, V>*>(grad) + head * parts;
  each_sample(shapes, given, starts, levels, points, keys, locations + head * samples * 2, [&](int k, int h, int w, const Sample<A>& s) {
    A dots[4] = {0, 0, 0, 0};
    const A scale = weights[head * samples + k];
    for (int part = lane; mine && part < parts; part += lanes) {
      const Channels<T, V> g = given_back[part];
      for (int corner = 0; corner < 4; ++corner) {
        if (s.pixel[corner] < 0) continue;
        const Channels<T, V> pixel = pixels[s.pixel[corner] * row + part];
        const A weight = s.weight[corner] * scale;
        A share[V];
        for (int c = 0; c < V; ++c) {
          dots[corner] = fma(A(g.at[c]), A(pixel.at[c]), dots[corner]);
          share[c] = weight * A(g.at[c]);
        }
        if (scatter && weight != 0) sums::add_together(sums + (first + s.pixel[corner] * row + part) * V, share);
      }
    }
    for (int corner = 0; corner < 4; ++corner)
      for (int step = lanes / 2; step > 0; step /= 2) dots[corner] += __shfl_down_sync(0xffffffffu, dots[corner], step);
    if (!mine || lane != 0) return;
    A total = 0;
    for (int corner = 0; corner < 4; ++corner)
      if (s.weight[corner] != 0) total += s.weight[corner] * dots[corner];
    A* const moved = for_locations + (head * samples + k) * 2;
    moved[0] = scale * A(w) * ((1 - s.fy) * (dots[1] - dots[0]) + (s.fy > 0 ? s.fy * (dots[3] - dots[2]) : A(0)));
    moved[1] = scale * A(h) * ((1 - s.fx) * (dots[2] - dots[0]) + (s.fx > 0 ? s.fx * (dots[3] - dots[1]) : A(0)));
    for_weights[head * samples + k] = total;
    if (s.pixel[0] < 0 && s.pixel[1] < 0 && s.pixel[2] < 0 && s.pixel[3] < 0) moved[0] = moved[1] = 0;
  });
}

// sums (images, keys, heads, channels) += the value's gradient, in a fixed order: a thread a channel of an image's head.
template <class T>
__global__ void __launch_bounds__(256) spread_in_order(int64_t n, int64_t channels, int64_t heads, int64_t queries, const T* grad, const int64_t* shapes, bool given, const int64_t* starts, int levels, int points, int64_t keys, const acc_t<T>* locations, const acc_t<T>* weights, acc_t<T>* sums) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t c = t % (heads * channels), m = c / channels, b = t / (heads * channels), samples = int64_t(levels) * points;
    A* const target = sums + b * keys * heads * channels + c;
    for (int64_t q = 0; q < queries; ++q) {
      const int64_t head = (b * queries + q) * heads + m;
      const A g = A(grad[(b * queries + q) * heads * channels + c]);
      each_sample(shapes, given, starts, levels, points, keys, locations + head * samples * 2, [&](int k, int, int, const Sample<A>& s) {
        for (int corner = 0; corner < 4; ++corner) {
          const A weight = s.weight[corner] * weights[head * samples + k];
          if (s.pixel[corner] >= 0 && weight != 0) sums::add(target + s.pixel[corner] * heads * channels, weight * g, true);
        }
      });
    }
  }
}
