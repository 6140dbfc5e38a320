// Rotation-invariant RoIAlign: rotated regions (roi_bins.cuh), of which a channel takes two orientations, by the region's angle.
#include "region_rotated.cuh"
#include "roi_bins.cuh"
#include "roi_samples.cuh"

// How far a region turns its groups of channels: by whole orientations, and by a share of one more.
template <class A> struct Turn {
  int orientations, shift;
  A share;

  Turn() = default;
  __device__ Turn(A angle, int orientations) : orientations(orientations) {
    const A turns = angle * A(orientations) / A(6.283185307179586476925), whole = floor(turns);
    share = turns - whole, shift = int(fmod(whole, A(orientations)));
    if (shift < 0) shift += orientations;
  }
  // The channel so many orientations before this one, within its group; `place` is its own place there.
  __device__ int before(int c, int place, int steps) const {
    place -= steps;
    return c + (place < 0 ? place + orientations : place >= orientations ? place - orientations : place) - (place + steps);
  }
  // The two channels that channel c takes, and those that take channel c.
  __device__ int first(int c, int place) const { return before(c, place, shift); }
  __device__ int second(int c, int place) const { return before(c, place, shift - 1); }
  __device__ int first_of(int c, int place) const { return before(c, place, -shift); }
  __device__ int second_of(int c, int place) const { return before(c, place, 1 - shift); }
};

// A thread a number; any layout, samples and orientations.
template <class T>
__global__ void __launch_bounds__(256) pool_turned(int64_t n, const T* x, bool last, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, int orientations, bool clockwise, T* out) {
  using A = acc_t<T>;
  const int bins = oh * ow;
  for (int64_t t = first(); t < n; t += stride()) {
    const int c = int(last ? t % channels : t / bins % channels), bin = int(last ? t / channels % bins : t % bins);
    const int64_t k = t / channels / bins, size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? channels : 1;
    const A* roi = rois + k * 6;
    const bool good = regions::valid(roi, 6, batch);
    A sums[2] = {};
    Turn<A> turn;
    if (good) {
      turn = Turn<A>(roi[5], orientations);
      const T* const source = x + int64_t(roi[0]) * channels * size;
      const T *const a = source + turn.first(c, c % orientations) * along, *const b = source + turn.second(c, c % orientations) * along;
      regions::Rotated::visit(roi, regions::Pooling<A>{oh, ow, scale, sampling, false, clockwise}, k, bin / ow, bin % ow, h, w, [&](int r, int s, A weight) {
        const int64_t at = (int64_t(r) * w + s) * pixel;
        sums[0] = fma(weight, A(a[at]), sums[0]), sums[1] = fma(weight, A(b[at]), sums[1]);
      });
    }
    out[(k * channels + c) * bins + bin] = T(good ? (1 - turn.share) * sums[0] + turn.share * sums[1] : A(NAN));
  }
}

// The same of x (B, H, W, C) as roi_samples.cuh does it; a block has `own` channels, whole groups. Channels are turned where results
// are written.
template <class T, int V>
__global__ void __launch_bounds__(256) pool_turned_last(int own, uint64_t by_orientations, uint64_t by_columns, uint64_t by_samples, uint64_t by_side, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool clockwise, T* out) {
  using A = acc_t<T>;
  using regions::Rotated;
  constexpr int BINS = 32;
  __shared__ __align__(8) unsigned char turned[roi_last::Tile<A, BINS>::BYTES];
  __shared__ roi_samples::Sample<A> samples[roi_samples::LISTED];
  __shared__ Rotated::Samples<A> region;
  __shared__ Turn<A> turn;
  const roi_last::Tile<A, BINS> tile(turned);
  const roi_samples::List<A, Rotated, BINS> list({by_columns, by_samples, by_side}, samples, &region);
  const loops::FastDivider<uint32_t> orientations(by_orientations);
  const A* const roi = rois + int64_t(blockIdx.x) * Rotated::columns;
  const bool good = regions::valid(roi, Rotated::columns, batch);
  if (good && threadIdx.x == WARP) turn = Turn<A>(roi[5], int(orientations.divisor));
  list.begin(roi, regions::Pooling<A>{oh, ow, scale, sampling, false, clockwise});
  const int c0 = blockIdx.y * own, some = min(own, channels - c0), bins = oh * ow;
  T* const result = out + (int64_t(blockIdx.x) * channels + c0) * bins;
  roi_samples::pool<BINS, V>(list, good, x + (good ? int64_t(roi[0]) * h * w * channels : 0) + c0, some, channels, h, w, bins, tile, [&](int start, int here) {
    const A share = good ? turn.share : A(NAN);
#pragma unroll 1
    for (int c = threadIdx.x / WARP; c < some; c += roi_last::BLOCK / WARP) {
      uint32_t group = uint32_t(c);
      const int place = int(loops::split(group, orientations)), p = good ? turn.first(c, place) : c, q = good ? turn.second(c, place) : c;
      for (int b = threadIdx.x % WARP; b < here; b += WARP) result[int64_t(c) * bins + start + b] = T((1 - share) * tile(p, b) + share * tile(q, b));
    }
  });
}

// The result's gradient turned back: that of the pooled channels. A block has a region and some of its `all` numbers; regions that are
// not valid have none.
template <class T>
__global__ void __launch_bounds__(256) turn_back(int all, uint64_t by_bins, uint64_t by_orientations, const T* grad, const acc_t<T>* rois, int batch, acc_t<T>* out) {
  using A = acc_t<T>;
  const loops::FastDivider<uint32_t> bins(by_bins), orientations(by_orientations);
  const A* const roi = rois + int64_t(blockIdx.x) * 6;
  const bool good = regions::valid(roi, 6, batch);
  __shared__ Turn<A> turn;
  if (good && threadIdx.x == 0) turn = Turn<A>(roi[5], int(orientations.divisor));
  __syncthreads();
  grad += int64_t(blockIdx.x) * all, out += int64_t(blockIdx.x) * all;
  for (uint32_t t = blockIdx.y * blockDim.x + threadIdx.x; t < uint32_t(all); t += gridDim.y * blockDim.x) {
    uint32_t group = bins.quotient(t);
    const int place = int(loops::split(group, orientations)), size = int(bins.divisor);
    A value = 0;
    if (good) {
      const T *const a = grad + t + int64_t(turn.first_of(0, place)) * size, *const b = grad + t + int64_t(turn.second_of(0, place)) * size;
      value = (1 - turn.share) * A(*a) + turn.share * A(*b);
    }
    out[t] = value;
  }
}
