// Deformable convolution: columns of samples, which a library multiplies with the weights, and gradients from columns'.
// Neighbouring threads hold neighbouring positions of the result.
#include "loops.cuh"
#include "sums.cuh"
#include "turned.cuh"

constexpr int CHANNELS = 16;  // of a thread, which finds the sample's pixels once for them
constexpr int SPREADING = 128;  // threads of a block of spread_last

// The four pixels round a sample, -1 outside the map, their weights, and how far the sample lies from the first of them.
template <class A> struct Sample { int pixel[4]; A weight[4], fy, fx; };

template <class A> __device__ inline Sample<A> sample_at(A y, A x, int h, int w) {
  if (!(y > -1 && x > -1 && y < A(h) && x < A(w))) return {{-1, -1, -1, -1}, {0, 0, 0, 0}, 0, 0};  // NaN too
  const A top = floor(y), left = floor(x), fy = y - top, fx = x - left;
  const int i = int(top), j = int(left), p = i * w + j;
  const bool above = i >= 0, below = i < h - 1, before = j >= 0, behind = j < w - 1;
  return {{above && before ? p : -1, above && behind ? p + 1 : -1, below && before ? p + w : -1, below && behind ? p + w + 1 : -1},
          {above && before ? (1 - fy) * (1 - fx) : A(0), above && behind ? (1 - fy) * fx : A(0),
           below && before ? fy * (1 - fx) : A(0), below && behind ? fy * fx : A(0)}, fy, fx};
}

// A filter's steps over a map, and the part of the result's positions that a launch is for.
struct Filter { int h, w, columns, width, stride_y, stride_x, pad_y, pad_x, step_y, step_x; int64_t positions, first; };

// The sample of tap `tap` at position `p` of the part; `row` is the number of (image, group, tap), which offsets and masks have.
template <class A> __device__ inline Sample<A> sample_of(const Filter& f, int64_t row, int tap, int64_t p, const A* offset) {
  const uint32_t at = uint32_t(f.first + p), i = at / uint32_t(f.columns), j = at - i * uint32_t(f.columns);
  const A* const move = offset + row * 2 * f.positions + at;
  return sample_at(A(int64_t(i) * f.stride_y - f.pad_y + int64_t(tap / f.width) * f.step_y) + move[0],
                   A(int64_t(j) * f.stride_x - f.pad_x + int64_t(tap % f.width) * f.step_x) + move[f.positions], f.h, f.w);
}

// A map of an image: V channels of a pixel at once, which lie together unless V is 1.
template <class T, int V> struct Map {
  const T* start;
  int64_t along, pixel;  // from a channel to the next, and from a pixel
  __device__ Map(const T* x, bool last, int channels, int64_t pixels)
      : start(x), along(last ? 1 : pixels), pixel(last ? channels : 1) {}
  __device__ Channels<T, V> at(int c, int p) const { return *reinterpret_cast<const Channels<T, V>*>(start + c * along + p * pixel); }
};

// out (images, channels, taps, positions of the part) = the samples, times the mask.
template <class T, int V>
__global__ void __launch_bounds__(256) columns_of(uint32_t n, uint64_t by_positions, uint64_t by_taps, uint64_t by_parts, uint64_t by_groups, const T* x, bool last, const acc_t<T>* offset, bool masked, const acc_t<T>* mask, int channels, int own, int h, int w, int columns, int width, int stride_y, int stride_x, int pad_y, int pad_x, int step_y, int step_x, int64_t positions, int64_t first, T* out) {
  using A = acc_t<T>;
  uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const loops::FastDivider<uint32_t> size(by_positions), taps(by_taps), groups(by_groups);
  const uint32_t p = loops::split(t, size), tap = loops::split(t, taps), part = loops::split(t, loops::FastDivider<uint32_t>(by_parts));
  const uint32_t g = loops::split(t, groups);
  const Filter f{h, w, columns, width, stride_y, stride_x, pad_y, pad_x, step_y, step_x, positions, first};
  const int64_t row = (int64_t(t) * groups.divisor + g) * taps.divisor + tap, pixels = int64_t(h) * w;
  const Sample<A> s = sample_of(f, row, int(tap), p, offset);
  const A m = masked ? mask[row * positions + first + p] : A(1);
  const int begin = int(g) * own + int(part) * CHANNELS, end = min(begin + CHANNELS, (int(g) + 1) * own);
  const Map<T, V> map(x + int64_t(t) * channels * pixels, last, channels, pixels);
  A weight[4];
  for (int k = 0; k < 4; ++k) weight[k] = s.weight[k] != 0 ? s.weight[k] * m : A(0);  // 0 times NaN is NaN
  T* target = out + ((int64_t(t) * channels + begin) * taps.divisor + tap) * size.divisor + p;
  for (int c = begin; c < end; c += V) {
    A sum[V] = {};
    for (int k = 0; k < 4; ++k) {
      if (weight[k] == 0) continue;
      const Channels<T, V> pixel = map.at(c, s.pixel[k]);
      for (int v = 0; v < V; ++v) sum[v] = fma(weight[k], A(pixel.at[v]), sum[v]);
    }
    for (int v = 0; v < V; ++v, target += int64_t(taps.divisor) * size.divisor) *target = T(sum[v]);
  }
}

// sums (images, channels, h, w) += what columns' gradients say of the map; a thread holds CHANNELS channels of a sample, or,
// `in_order`, all samples of a channel.
template <class T>
__global__ void __launch_bounds__(256) spread_columns(uint32_t n, bool in_order, uint64_t by_positions, uint64_t by_taps, uint64_t by_parts, uint64_t by_groups, const T* grad, const acc_t<T>* offset, bool masked, const acc_t<T>* mask, int channels, int own, int h, int w, int columns, int width, int stride_y, int stride_x, int pad_y, int pad_x, int step_y, int step_x, int64_t positions, int64_t first, acc_t<T>* sums) {
  using A = acc_t<T>;
  uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const loops::FastDivider<uint32_t> size(by_positions), taps(by_taps), groups(by_groups);
  const Filter f{h, w, columns, width, stride_y, stride_x, pad_y, pad_x, step_y, step_x, positions, first};
  const int64_t pixels = int64_t(h) * w;
  uint32_t p = 0, tap = 0, p_end = size.divisor, tap_end = taps.divisor, g;
  int begin, end;
  if (in_order) {
    const uint32_t c = t % uint32_t(channels);
    t /= uint32_t(channels), g = c / uint32_t(own), begin = int(c), end = begin + 1;
  } else {
    p = loops::split(t, size), tap = loops::split(t, taps), p_end = p + 1, tap_end = tap + 1;
    const uint32_t part = loops::split(t, loops::FastDivider<uint32_t>(by_parts));
    g = loops::split(t, groups), begin = int(g) * own + int(part) * CHANNELS, end = min(begin + CHANNELS, (int(g) + 1) * own);
  }
  for (uint32_t k = tap; k < tap_end; ++k) {
    const int64_t row = (int64_t(t) * groups.divisor + g) * taps.divisor + k;
    for (uint32_t q = p; q < p_end; ++q) {
      const Sample<A> s = sample_of(f, row, int(k), q, offset);
      const A m = masked ? mask[row * positions + first + q] : A(1);
      for (int c = begin; c < end; ++c) {
        const int64_t plane = int64_t(t) * channels + c;
        const A value = m * A(grad[(plane * taps.divisor + k) * size.divisor + q]);
        for (int corner = 0; corner < 4; ++corner)
          if (s.weight[corner] != 0 && m != 0) sums::add(sums + plane * pixels + s.pixel[corner], s.weight[corner] * value, in_order);
      }
    }
  }
}

// The same for sums whose channels lie last, (images, h, w, channels). A warp has `some` positions, 32 of them, and up to 32 channels
// of a tap: it turns them in shared memory, and adds 32 channels to the pixels of 4 samples at a time.
template <class T>
__global__ void __launch_bounds__(SPREADING) spread_last(uint32_t n, uint64_t by_tiles, uint64_t by_taps, uint64_t by_parts, uint64_t by_groups, int some, const T* grad, const acc_t<T>* offset, bool masked, const acc_t<T>* mask, int channels, int own, int h, int w, int columns, int width, int stride_y, int stride_x, int pad_y, int pad_x, int step_y, int step_x, int64_t positions, int64_t first, acc_t<T>* sums) {
  using A = acc_t<T>;
  constexpr int LANES = 8, EACH = WARP / LANES;  // of a sample, and channels of a lane
  __shared__ A tiles[SPREADING / WARP][WARP * (WARP + 1)];
  uint32_t t = loops::thread<uint32_t>() / WARP;
  if (t >= n) return;  // the whole warp
  const loops::FastDivider<uint32_t> taps(by_taps), groups(by_groups);
  const int lane = threadIdx.x % WARP;
  A* const tile = tiles[threadIdx.x / WARP];
  const int p = int(loops::split(t, loops::FastDivider<uint32_t>(by_tiles))) * WARP + lane;
  const uint32_t tap = loops::split(t, taps), part = loops::split(t, loops::FastDivider<uint32_t>(by_parts));
  const uint32_t g = loops::split(t, groups);
  const Filter f{h, w, columns, width, stride_y, stride_x, pad_y, pad_x, step_y, step_x, positions, first};
  const int64_t row = (int64_t(t) * groups.divisor + g) * taps.divisor + tap;
  const bool mine = p < some;
  const Sample<A> s = sample_of(f, row, int(tap), mine ? p : 0, offset);
  const A m = !mine ? A(0) : masked ? mask[row * positions + first + p] : A(1);
  const int begin = int(g) * own + int(part) * WARP, count = min(WARP, (int(g) + 1) * own - begin);
  const T* given = grad + ((int64_t(t) * channels + begin) * taps.divisor + tap) * some + p;
  for (int c = 0; c < count; ++c, given += int64_t(taps.divisor) * some) tile[c * (WARP + 1) + lane] = m != 0 ? m * A(*given) : A(0);
  __syncwarp();
  A* const target = sums + int64_t(t) * h * w * channels + begin;
  const int lowest = sums::FOURS ? lane % LANES * EACH : lane % LANES;  // of the lane's channels
  for (int step = 0; step < WARP; step += WARP / LANES) {
    const int sample = step + lane / LANES;
    A values[EACH];
    for (int k = 0; k < EACH; ++k) {
      const int c = sums::FOURS ? lowest + k : lowest + k * LANES;
      values[k] = c < count ? tile[c * (WARP + 1) + sample] : A(0);
    }
    for (int corner = 0; corner < 4; ++corner) {
      const int pixel = __shfl_sync(0xffffffffu, s.pixel[corner], sample);
      const A weight = __shfl_sync(0xffffffffu, m != 0 ? s.weight[corner] : A(0), sample);
      if (weight == 0) continue;
      A share[EACH];
      for (int k = 0; k < EACH; ++k) share[k] = weight * values[k];
      A* const at = target + int64_t(pixel) * channels + lowest;
      if (sums::FOURS) {
        if (lowest < count) sums::add_together(at, share);
      } else {
        for (int k = 0; k < EACH; ++k)
          if (lowest + k * LANES < count) atomicAdd(at + k * LANES, share[k]);
      }
    }
  }
}

// The gradients of positions, for_offset (images, groups, taps, 2, positions), and of the mask: a thread adds a sample's channels.
template <class T, int V>
__global__ void __launch_bounds__(256) slopes(uint32_t n, uint64_t by_positions, uint64_t by_taps, uint64_t by_groups, const T* grad, const T* x, bool last, const acc_t<T>* offset, bool masked, const acc_t<T>* mask, int channels, int own, int h, int w, int columns, int width, int stride_y, int stride_x, int pad_y, int pad_x, int step_y, int step_x, int64_t positions, int64_t first, T* for_offset, T* for_mask) {
  using A = acc_t<T>;
  uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const loops::FastDivider<uint32_t> size(by_positions), taps(by_taps), groups(by_groups);
  const uint32_t p = loops::split(t, size), tap = loops::split(t, taps), g = loops::split(t, groups);
  const Filter f{h, w, columns, width, stride_y, stride_x, pad_y, pad_x, step_y, step_x, positions, first};
  const int64_t row = (int64_t(t) * groups.divisor + g) * taps.divisor + tap, pixels = int64_t(h) * w;
  const Map<T, V> map(x + int64_t(t) * channels * pixels, last, channels, pixels);
  const Sample<A> s = sample_of(f, row, int(tap), p, offset);
  A sums[4] = {0, 0, 0, 0};
  const T* given = grad + ((int64_t(t) * channels + int64_t(g) * own) * taps.divisor + tap) * size.divisor + p;
  for (int c = int(g) * own; c < (int(g) + 1) * own; c += V) {
    A value[V];
    for (int v = 0; v < V; ++v, given += int64_t(taps.divisor) * size.divisor) value[v] = A(*given);
    for (int k = 0; k < 4; ++k) {
      if (s.pixel[k] < 0) continue;
      const Channels<T, V> pixel = map.at(c, s.pixel[k]);
      for (int v = 0; v < V; ++v) sums[k] = fma(value[v], A(pixel.at[v]), sums[k]);
    }
  }
  const bool none = s.pixel[0] < 0 && s.pixel[1] < 0 && s.pixel[2] < 0 && s.pixel[3] < 0;
  const A m = none ? A(0) : masked ? mask[row * positions + first + p] : A(1), fy = s.fy, fx = s.fx;
  const A by_y = (1 - fx) * (sums[2] - sums[0]) + (fx > 0 ? fx * (sums[3] - sums[1]) : A(0));
  const A by_x = (1 - fy) * (sums[1] - sums[0]) + (fy > 0 ? fy * (sums[3] - sums[2]) : A(0));
  T* const moved = for_offset + row * 2 * positions + first + p;
  moved[0] = T(m * by_y), moved[positions] = T(m * by_x);
  if (!masked) return;
  A value = 0;
  for (int k = 0; k < 4; ++k)
    if (s.weight[k] != 0) value += s.weight[k] * sums[k];
  for_mask[row * positions + first + p] = T(value);
}

// out (images, channels, positions) += bias (channels).
template <class T>
__global__ void __launch_bounds__(256) add_bias(int64_t n, const acc_t<T>* bias, int64_t channels, int64_t positions, T* out) {
  for (int64_t t = first(); t < n; t += stride()) out[t] = T(acc_t<T>(out[t]) + bias[t / positions % channels]);
}

// sums += the parts, one after another.
template <class T>
__global__ void __launch_bounds__(256) add_parts(int64_t n, int64_t parts, const T* part, acc_t<T>* sums) {
  for (int64_t t = first(); t < n; t += stride()) {
    acc_t<T> total = sums[t];
    for (int64_t k = 0; k < parts; ++k) total += acc_t<T>(part[k * n + t]);
    sums[t] = total;
  }
}

// out (channels) = the sums of grad (images, channels, positions): a block a channel, always in the same order.
template <class T>
__global__ void __launch_bounds__(256) channel_sums(int64_t images, int64_t channels, int64_t positions, const T* grad, T* out) {
  __shared__ acc_t<T> sums[256];
  acc_t<T> total = 0;
  for (int64_t b = 0; b < images; ++b)
    for (int64_t p = threadIdx.x; p < positions; p += blockDim.x) total += acc_t<T>(grad[(b * channels + blockIdx.x) * positions + p]);
  sums[threadIdx.x] = total;
  for (int half = 128; half; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = T(sums[0]);
}
