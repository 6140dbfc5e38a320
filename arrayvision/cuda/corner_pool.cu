// Running maxima of maps. Where they run over rows a thread has a column, so neighbours read neighbouring numbers; where they
// run along rows a warp has a row, and passes 32 of its numbers on at a time.
#include "prelude.cuh"

namespace corners {

// How many places of a line a thread loads before it needs the first: threads are few, and wait for memory once for so many.
constexpr int AHEAD = 16, AHEAD_OF_THREE = 8;  // of one array, of three

// What numbers are compared and added as.
template <class T> struct held { using type = acc_t<T>; };
template <> struct held<int64_t> { using type = int64_t; };
template <class T> using held_t = typename held<T>::type;

template <class V> __device__ inline bool takes(V value, V best) { return value >= best || value != value; }
template <class V> __device__ inline bool own(V value, V best) { return value == best || value != value; }

// Calls run(first, step, length) for the thread's lines, from where maxima begin: line, and distance of numbers in it.
template <class Run> __device__ inline void columns(int64_t planes, int h, int w, bool rising, Run run) {
  for (int64_t e = first(); e < planes * w; e += stride()) {
    const int64_t plane = e / w, k = e - plane * w;
    run(plane * h * w + (rising ? 0 : int64_t(h - 1) * w) + k, rising ? int64_t(w) : -int64_t(w), h);
  }
}

// out = f(numbers of three arrays) along a line, one after another.
template <class T, class F>
__device__ inline void by_threes(int64_t at, int64_t step, int length, const T* a, const T* b, const T* c, F f, T* out) {
  T x[AHEAD_OF_THREE], y[AHEAD_OF_THREE], z[AHEAD_OF_THREE];
#pragma unroll 1
  for (int i = 0; i < length; i += AHEAD_OF_THREE) {
#pragma unroll
    for (int k = 0; k < AHEAD_OF_THREE; ++k)
      if (i + k < length) x[k] = a[at + k * step], y[k] = b[at + k * step], z[k] = c[at + k * step];
#pragma unroll
    for (int k = 0; k < AHEAD_OF_THREE; ++k, at += step) {
      if (i + k >= length) break;
      out[at] = f(x[k], y[k], z[k]);
    }
  }
}

}  // namespace corners

template <class T>
__global__ void __launch_bounds__(256) pool_columns(int64_t planes, int h, int w, bool rising, const T* x, T* out) {
  using V = corners::held_t<T>;
  corners::columns(planes, h, w, rising, [&](int64_t at, int64_t step, int length) {
    V best = V(x[at]);
    T values[corners::AHEAD];
#pragma unroll 1
    for (int i = 0; i < length; i += corners::AHEAD) {
#pragma unroll
      for (int k = 0; k < corners::AHEAD; ++k)
        if (i + k < length) values[k] = x[at + k * step];
#pragma unroll
      for (int k = 0; k < corners::AHEAD; ++k, at += step) {
        if (i + k >= length) break;
        if (corners::takes(V(values[k]), best)) best = V(values[k]);
        out[at] = T(best);
      }
    }
  });
}

// A warp takes 32 numbers, and each lane the greatest of those up to its own, by doubling; then the greatest of before.
template <class T>
__global__ void __launch_bounds__(256) pool_rows(int64_t rows, int w, bool rising, const T* x, T* out) {
  using V = corners::held_t<T>;
  const int lane = threadIdx.x % WARP;
  for (int64_t row = first() / WARP; row < rows; row += stride() / WARP) {
    V before = V(x[row * w + (rising ? 0 : w - 1)]);
    for (int start = 0; start < w; start += WARP) {
      const int k = start + lane;
      const int64_t at = row * w + (rising ? k : w - 1 - k);
      V best = k < w ? V(x[at]) : before;
      for (int step = 1; step < WARP; step *= 2) {
        const V other = __shfl_up_sync(0xffffffffu, best, step);
        if (lane >= step && !corners::takes(best, other)) best = other;
      }
      if (!corners::takes(best, before)) best = before;
      if (k < w) out[at] = T(best);
      before = __shfl_sync(0xffffffffu, best, WARP - 1);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(256) carry_columns(int64_t planes, int h, int w, bool rising, const T* tangent, const T* x, const T* pooled, T* out) {
  using V = acc_t<T>;
  corners::columns(planes, h, w, rising, [&](int64_t at, int64_t step, int length) {
    V moved = V(tangent[at]);
    corners::by_threes(at, step, length, tangent, x, pooled, [&](T its, T value, T best) {
      if (corners::own(V(value), V(best))) moved = V(its);
      return T(moved);
    }, out);
  });
}

// Each lane has the tangent of the last maximum up to its own number.
template <class T>
__global__ void __launch_bounds__(256) carry_rows(int64_t rows, int w, bool rising, const T* tangent, const T* x, const T* pooled, T* out) {
  using V = acc_t<T>;
  const int lane = threadIdx.x % WARP;
  for (int64_t row = first() / WARP; row < rows; row += stride() / WARP) {
    V before = V(tangent[row * w + (rising ? 0 : w - 1)]);
    for (int start = 0; start < w; start += WARP) {
      const int k = start + lane;
      const int64_t at = row * w + (rising ? k : w - 1 - k);
      const bool mine = k < w && corners::own(V(x[at]), V(pooled[at]));
      const unsigned those = __ballot_sync(0xffffffffu, mine) & (0xffffffffu >> (WARP - 1 - lane));
      const V value = k < w ? V(tangent[at]) : V(0);
      const V last = __shfl_sync(0xffffffffu, value, those ? WARP - 1 - __clz(int(those)) : lane);
      const V moved = those ? last : before;
      if (k < w) out[at] = T(moved);
      before = __shfl_sync(0xffffffffu, moved, min(w - start, WARP) - 1);
    }
  }
}

// Sums run from where maxima end to where they begin.
template <class T>
__global__ void __launch_bounds__(256) collect_columns(int64_t planes, int h, int w, bool rising, const T* grad, const T* x, const T* pooled, T* out) {
  using V = acc_t<T>;
  corners::columns(planes, h, w, !rising, [&](int64_t at, int64_t step, int length) {
    V total = 0;
    corners::by_threes(at, step, length, grad, x, pooled, [&](T its, T value, T best) {
      const bool own = corners::own(V(value), V(best));
      total += V(its);
      const V sum = own ? total : V(0);
      if (own) total = 0;
      return T(sum);
    }, out);
  });
}

// Each lane adds up what came since the last maximum before it, by doubling over the stretch between two.
template <class T>
__global__ void __launch_bounds__(256) collect_rows(int64_t rows, int w, bool rising, const T* grad, const T* x, const T* pooled, T* out) {
  using V = acc_t<T>;
  const int lane = threadIdx.x % WARP;
  for (int64_t row = first() / WARP; row < rows; row += stride() / WARP) {
    V before = 0;
    for (int start = 0; start < w; start += WARP) {
      const int k = start + lane;
      const int64_t at = row * w + (rising ? w - 1 - k : k);
      const bool own = k < w && corners::own(V(x[at]), V(pooled[at]));
      const unsigned below = __ballot_sync(0xffffffffu, own) & ~(0xffffffffu << lane);
      const int since = below ? WARP - __clz(int(below)) : 0;  // the first lane of my stretch
      V total = k < w ? V(grad[at]) : V(0);
      for (int step = 1; step < WARP; step *= 2) {
        const V other = __shfl_up_sync(0xffffffffu, total, step);
        if (lane - step >= since) total += other;
      }
      if (!below) total += before;
      if (k < w) out[at] = T(own ? total : V(0));
      before = __shfl_sync(0xffffffffu, own ? V(0) : total, WARP - 1);
    }
  }
}
