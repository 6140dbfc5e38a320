// Kernels that pool bins of a few samples each, of maps whose channels lie last.
//
// A block has a region and roi_last::CHANNELS of its channels. Its threads compute a sample's pixels and weights once, a thread
// a sample, and leave them in shared memory for all channels. A kind of such regions has Samples (region_rotated.cuh).
#pragma once
#include "loops.cuh"
#include "regions.cuh"
#include "roi_last.cuh"
#include "sums.cuh"

namespace roi_samples {

constexpr int SIDE = 4;      // samples of a bin along an axis, at most
constexpr int LISTED = 256;  // samples that a block lists at a time

// Of the four pixels round a sample: weights, which are 0 outside the map, and where the channels begin there, in bytes.
template <class A> struct __align__(16) Sample { A weight[4]; uint32_t at[4]; };

template <class T> __device__ inline T* moved(T* x, uint32_t bytes) {
  using Byte = const unsigned char;
  return const_cast<T*>(reinterpret_cast<const T*>(reinterpret_cast<Byte*>(x) + bytes));
}

// Of a call: what a sample's number is divided by, for (by_columns) a row's bins, a bin's samples, and a row of these.
struct Dividers {
  const loops::FastDivider<uint32_t> columns, samples, side;
  __device__ Dividers(uint64_t by_columns, uint64_t by_samples, uint64_t by_side) : columns(by_columns), samples(by_samples), side(by_side) {}
};

// A block's list of the samples of some bins.
template <class A, class Region, int BINS> struct List {
  const Dividers by;
  const int each, step;  // samples of a bin, and bins that are listed at a time
  Sample<A>* const samples;
  typename Region::template Samples<A>* const region;

  __device__ List(const Dividers& by, Sample<A>* samples, typename Region::template Samples<A>* region)
      : by(by), each(int(by.samples.divisor)), step(min(BINS, LISTED / each)), samples(samples), region(region) {}

  // All threads come to these two; a barrier follows.
  __device__ void begin(const A* roi, const regions::Pooling<A>& pooling) const {
    if (threadIdx.x == 0) *region = typename Region::template Samples<A>(roi, pooling);
    __syncthreads();
  }
  __device__ void fill(int start, int here, int h, int w, uint32_t pixel) const {  // which has so many bytes
    for (uint32_t t = threadIdx.x; t < uint32_t(here * each); t += roi_last::BLOCK) {
      uint32_t i = t, u = loops::split(i, by.samples);
      i += uint32_t(start);
      const uint32_t j = loops::split(i, by.columns), v = loops::split(u, by.side);
      A y, x, fy, fx;
      int top, bottom, left, right;
      region->at(int(i), int(j), int(u), int(v), y, x);
      Sample<A> sample = {};
      if (bilinear::neighbours(y, h, top, bottom, fy) && bilinear::neighbours(x, w, left, right, fx)) {
        const int at[4] = {top * w + left, top * w + right, bottom * w + left, bottom * w + right};
        const A weight[4] = {region->weight * (1 - fy) * (1 - fx), region->weight * (1 - fy) * fx, region->weight * fy * (1 - fx), region->weight * fy * fx};
#pragma unroll
        for (int k = 0; k < 4; ++k) sample.weight[k] = weight[k], sample.at[k] = uint32_t(at[k]) * pixel;
      }
      samples[t] = sample;
    }
  }
};

// Bins of a region, of `some` channels from `source` on, V a load: `tile` gets a thread's sums, and write(start, here) takes those
// of `here` bins away, of which the first is `start`.
template <int BINS, int V, class T, class A, class Region, class S, class Write>
__device__ __forceinline__ void pool(const List<A, Region, BINS>& list, bool good, const T* source, int some, int channels, int h, int w, int bins, const roi_last::Tile<S, BINS>& tile, Write&& write) {
  const roi_last::Lanes<V> own;
  source += own.lane * V;
  for (int start = 0; start < bins; start += list.step) {
    const int here = min(list.step, bins - start);
    if (good) list.fill(start, here, h, w, channels * int(sizeof(T)));
    __syncthreads();
    for (int b = own.group; b < here && own.lane * V < some; b += own.GROUPS) {
      A sum[V];
      for (int v = 0; v < V; ++v) sum[v] = good ? A(0) : A(NAN);
#pragma unroll 1
      for (int s = 0; good && s < list.each; ++s) {
        const Sample<A> sample = list.samples[b * list.each + s];
        Channels<T, V> pixels[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) pixels[k] = *reinterpret_cast<const Channels<T, V>*>(moved(source, sample.at[k]));
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (sample.weight[k] != 0)
            for (int v = 0; v < V; ++v) sum[v] = fma(sample.weight[k], A(pixels[k].at[v]), sum[v]);
      }
      for (int v = 0; v < V; ++v) tile(own.lane * V + v, b) = S(sum[v]);
    }
    __syncthreads();
    write(start, here);
  }
}

}  // namespace roi_samples

// out (K, C, oh, ow) of x (B, H, W, C); the dividers are roi_samples::Dividers'.
template <class T, int V, class Region>
__global__ void __launch_bounds__(256) pool_samples(uint64_t by_columns, uint64_t by_samples, uint64_t by_side, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, T* out) {
  using A = acc_t<T>;
  constexpr int BINS = sizeof(T) == 2 ? 64 : 32;
  __shared__ __align__(8) unsigned char turned[roi_last::Tile<T, BINS>::BYTES];
  __shared__ roi_samples::Sample<A> samples[roi_samples::LISTED];
  __shared__ typename Region::template Samples<A> region;
  const roi_last::Tile<T, BINS> tile(turned);
  const roi_samples::List<A, Region, BINS> list({by_columns, by_samples, by_side}, samples, &region);
  const A* const roi = rois + int64_t(blockIdx.x) * Region::columns;
  const bool good = regions::valid(roi, Region::columns, batch);
  list.begin(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned, clockwise});
  const int c0 = blockIdx.y * roi_last::CHANNELS, some = min(roi_last::CHANNELS, channels - c0), bins = oh * ow;
  T* const result = out + (int64_t(blockIdx.x) * channels + c0) * bins;
  roi_samples::pool<BINS, V>(list, good, x + (good ? int64_t(roi[0]) * h * w * channels : 0) + c0, some, channels, h, w, bins, tile, [&](int start, int here) {
    tile.write(some, here, bins, result + start);
  });
}

// The features' gradient, added to out (B, H, W, C), whose channels come in multiples of V.
template <class T, int V, class Region>
__global__ void __launch_bounds__(256) spread_samples(uint64_t by_columns, uint64_t by_samples, uint64_t by_side, const T* grad, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T>* out) {
  using A = acc_t<T>;
  constexpr int BINS = 32;
  __shared__ __align__(8) unsigned char given[roi_last::Tile<A, BINS>::BYTES];
  __shared__ roi_samples::Sample<A> samples[roi_samples::LISTED];
  __shared__ typename Region::template Samples<A> region;
  const roi_last::Tile<A, BINS> tile(given);
  const roi_samples::List<A, Region, BINS> list({by_columns, by_samples, by_side}, samples, &region);
  const A* const roi = rois + int64_t(blockIdx.x) * Region::columns;
  if (!regions::valid(roi, Region::columns, batch)) return;
  list.begin(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned, clockwise});
  const int c0 = blockIdx.y * roi_last::CHANNELS, some = min(roi_last::CHANNELS, channels - c0), bins = oh * ow;
  const T* const source = grad + (int64_t(blockIdx.x) * channels + c0) * bins;
  const roi_last::Lanes<V> own;
  // Four floats are one access of memory where that is possible; elsewhere neighbouring threads add to neighbouring channels.
  constexpr bool FOURS = sums::FOURS && V == 4 && sizeof(A) == 4;
  constexpr int APART = FOURS ? 1 : roi_last::Lanes<V>::COUNT;
  const int lowest = FOURS ? own.lane * V : own.lane;
  A* const target = out + int64_t(roi[0]) * h * w * channels + c0 + lowest;
  for (int start = 0; start < bins; start += list.step) {
    const int here = min(list.step, bins - start);
    list.fill(start, here, h, w, channels * int(sizeof(A)));
#pragma unroll 1
    for (int c = threadIdx.x / WARP; c < some; c += roi_last::BLOCK / WARP)
      for (int b = threadIdx.x % WARP; b < here; b += WARP) tile(c, b) = A(source[int64_t(c) * bins + start + b]);
    __syncthreads();
    for (int b = own.group; b < here && lowest < some; b += own.GROUPS) {
      A its[V];
      for (int v = 0; v < V; ++v) its[v] = lowest + v * APART < some ? tile(lowest + v * APART, b) : A(0);
#pragma unroll 1
      for (int s = 0; s < list.each; ++s) {
        const roi_samples::Sample<A> sample = list.samples[b * list.each + s];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (sample.weight[k] == 0) continue;
          A* const at = roi_samples::moved(target, sample.at[k]);
          A shares[V];
          for (int v = 0; v < V; ++v) shares[v] = sample.weight[k] * its[v];
          if (FOURS) {
            sums::add_together(at, shares);
          } else {
            for (int v = 0; v < V; ++v)
              if (lowest + v * APART < some) atomicAdd(at + v * APART, shares[v]);
          }
        }
      }
    }
    __syncthreads();  // before the next bins take the tile and the list
  }
}
