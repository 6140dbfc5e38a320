// The kernels that pool bins of regions (features' weighted sums), and spread gradients back, for each kind of region.
//
// A kind (region_*.cuh) has `columns`, the numbers of a region, and visit(region, pooling, its index, bin's row and column,
// map's height and width, f), which calls f(row, column, weight) for the pixels that the bin's samples touch. Samples outside
// the map add nothing and are skipped by arithmetic, whatever the region's size. Of a map (B, C, H, W) a thread holds a bin and
// CHANNELS channels, and neighbouring threads hold neighbouring bins; of one (B, H, W, C) they hold channels (roi_last.cuh).
#pragma once
#include "loops.cuh"
#include "regions.cuh"
#include "roi_in_order.cuh"
#include "roi_last.cuh"
#include "sums.cuh"
#include "turned.cuh"

namespace roi_bins {

constexpr int CHANNELS = 4;  // of a thread
constexpr int SHARES = 4;  // lanes that share a bin's channels out, where these don't lie last

// What a thread computes: a region k, a bin and channels c, c + step, ... (CHANNELS of them, below `channels`). The dividers
// are of a region's bins, and of the groups of channels that a bin has: of threads, or of warps in (B, H, W, C).
struct Task {
  int64_t k;
  int bin, c, step;
  __device__ Task(uint32_t t, bool last, uint64_t by_bins, uint64_t by_groups) {
    const loops::FastDivider<uint32_t> bins(by_bins), groups(by_groups);
    if (last) {
      const uint32_t lane = t % WARP;
      t /= WARP;
      c = int(loops::split(t, groups) * WARP * CHANNELS + lane), step = WARP;
      bin = int(loops::split(t, bins));
    } else {
      bin = int(loops::split(t, bins));
      c = int(loops::split(t, groups)) * CHANNELS, step = 1;
    }
    k = t;
  }
};

// How a warp shares bins and channels out where each bin's sum over all channels is wanted. Neighbouring lanes have neighbouring
// channels of a bin where channels lie last, and else neighbouring bins, whose pixels are neighbours: SHARES lanes a bin.
struct Sharing {
  int lanes, across, lane;  // of a bin, bins of the warp, and which of the bin's lanes this is: its channels are lane, lane + lanes ...
  int64_t bin;              // among those of all regions
  __device__ Sharing(int64_t t, bool last) : lanes(last ? WARP : SHARES), across(WARP / lanes), lane(int(t % WARP) / across), bin(t / WARP * across + t % WARP % across) {}

  // Of a bin's lanes, in a fixed order; all lanes of the warp take part, and a bin's first has the sum.
  template <class A> __device__ A sum(A value) const {
    for (int step = WARP / 2; step >= across; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    return value;
  }
};

}  // namespace roi_bins

template <class T, class Region>
__global__ void __launch_bounds__(256) pool(uint32_t n, uint64_t by_bins, uint64_t by_groups, const T* x, const acc_t<T>* rois, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, T* out) {
  using A = acc_t<T>;
  const regions::Pooling<A> pooling = {oh, ow, scale, sampling, aligned, clockwise, gamma, moved ? offset : nullptr};
  const uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const roi_bins::Task task(t, false, by_bins, by_groups);
  const A* roi = rois + task.k * Region::columns;
  const bool good = regions::valid(roi, Region::columns, batch);
  const int64_t image = good ? int64_t(roi[0]) : 0, size = int64_t(h) * w;
  const T* const source = x + (image * channels + task.c) * size;
  A sum[roi_bins::CHANNELS] = {};
  if (good)
    Region::visit(roi, pooling, task.k, task.bin / ow, task.bin % ow, h, w,
                [&](int r, int c, A weight) {
                  const T* p = source + int64_t(r) * w + c;
                  for (int g = 0; g < roi_bins::CHANNELS; ++g)
                    if (task.c + g < channels) sum[g] += weight * A(p[g * size]);
                });
  for (int g = 0; g < roi_bins::CHANNELS; ++g) {
    const int c = task.c + g;
    if (c < channels) out[(task.k * channels + c) * oh * ow + task.bin] = T(good ? sum[g] : A(NAN));
  }
}

// x (B, H, W, C), V channels a load.
template <class T, int V, class Region>
__global__ void __launch_bounds__(256) pool_last(uint64_t by_columns, const T* x, const acc_t<T>* rois, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, T* out) {
  using A = acc_t<T>;
  constexpr int BINS = sizeof(T) == 8 ? 32 : 64;
  __shared__ __align__(8) unsigned char turned[roi_last::Tile<T, BINS>::BYTES];
  const roi_last::Tile<T, BINS> tile(turned);
  const regions::Pooling<A> pooling = {oh, ow, scale, sampling, aligned, clockwise, gamma, moved ? offset : nullptr};
  const A* const roi = rois + int64_t(blockIdx.x) * Region::columns;
  const bool good = regions::valid(roi, Region::columns, batch);
  const int c0 = blockIdx.y * roi_last::CHANNELS, some = min(roi_last::CHANNELS, channels - c0), bins = oh * ow;
  const roi_last::Lanes<V> own;
  const T* const source = x + (good ? int64_t(roi[0]) * h * w * channels : 0) + c0 + own.lane * V;
  T* const result = out + (int64_t(blockIdx.x) * channels + c0) * bins;
  roi_last::by_tiles<BINS>(
    own, some, bins, by_columns,
    [&](uint32_t i, uint32_t j, int b) {
      A sum[V];
      for (int v = 0; v < V; ++v) sum[v] = good ? A(0) : A(NAN);
      if (good)
        Region::visit(roi, pooling, int64_t(blockIdx.x), int(i), int(j), h, w, [&](int r, int c, A weight) {
          const Channels<T, V> pixel = *reinterpret_cast<const Channels<T, V>*>(source + (int64_t(r) * w + c) * channels);
          for (int v = 0; v < V; ++v) sum[v] += weight * A(pixel.at[v]);
        });
      for (int v = 0; v < V; ++v) tile(own.lane * V + v, b) = T(sum[v]);
    },
    [&](int start, int here) { tile.write(some, here, bins, result + start); });
}

// The features' gradient, (B, C, H, W), added to out.
template <class T, class Region>
__global__ void __launch_bounds__(256) spread(uint32_t n, uint64_t by_bins, uint64_t by_groups, const T* grad, const acc_t<T>* rois, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, acc_t<T>* out) {
  using A = acc_t<T>;
  const regions::Pooling<A> pooling = {oh, ow, scale, sampling, aligned, clockwise, gamma, moved ? offset : nullptr};
  const uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const roi_bins::Task task(t, false, by_bins, by_groups);
  const A* roi = rois + task.k * Region::columns;
  if (!regions::valid(roi, Region::columns, batch)) return;
  const int64_t size = int64_t(h) * w;
  A* const target = out + (int64_t(roi[0]) * channels + task.c) * size;
  const int some = min(roi_bins::CHANNELS, channels - task.c);
  A g[roi_bins::CHANNELS];
  for (int i = 0; i < some; ++i) g[i] = A(grad[(task.k * channels + task.c + i) * oh * ow + task.bin]);
  Region::visit(roi, pooling, task.k, task.bin / ow, task.bin % ow, h, w,
              [&](int r, int c, A weight) {
                for (int i = 0; i < some; ++i) sums::add(target + i * size + int64_t(r) * w + c, weight * g[i], false);
              });
}
