// Kernels that pool upright regions whose bins' weights are those of rows times those of columns.
//
// A block has a region and some channels. It lists, for each row and each column of bins, the pixels that these weigh and how
// much (the samples that share a pixel are one entry), once for all of its channels; a bin is then two short loops. Such a
// region has taps(start, size, samples, length of the map, f) in the place of `visit`, which calls f(pixel, weight) in rising
// order; a pixel may come again, but for the two last ones only.
#pragma once
#include "loops.cuh"
#include "regions.cuh"
#include "roi_last.cuh"
#include "turned.cuh"

namespace roi_upright {

constexpr int BLOCK = 256;

template <class A> struct Tap { int at; A weight; };
struct Range { int start, count; };

// Where the taps of a bin that begins at `start` lie in the list of an axis: bins share its pixels out, but for three of each.
// The list has length + 1 + 3 * bins entries (cuda/roi_bins.py).
template <class A> __device__ inline int before(A start, int length) {
  return finite(start) ? int(floor(min(max(start, A(-1)), A(length)))) : 0;
}

// Of the rows of a region's bins and its columns: lists of taps, one behind the other, and the range of each in its list.
template <class A> struct Lists {
  Tap<A>* taps;
  Range* ranges;
  int columns;  // where their taps begin

  __device__ Lists(unsigned char* memory, int oh, int ow, int h, int w)
      : taps(reinterpret_cast<Tap<A>*>(memory)), ranges(reinterpret_cast<Range*>(taps + (h + 1 + 3 * oh) + (w + 1 + 3 * ow))), columns(h + 1 + 3 * oh) {}

  // A row's taps have the numbers of its first pixel, of a width of `stride`.
  template <class Region> __device__ void fill(const regions::Frame<A>& o, int oh, int ow, int h, int w, int stride) const {
    for (int b = threadIdx.x; b < oh + ow; b += BLOCK) {
      const bool row = b < oh;
      const int i = row ? b : b - oh, length = row ? h : w, step = row ? stride : 1;
      const A origin = row ? o.y : o.x, size = row ? o.bh : o.bw, start = origin + A(i) * size;
      const int zero = before(origin, length), here = before(start, length), next = before(origin + A(i + 1) * size, length);
      const int at = (row ? 0 : columns) + abs(here - zero) + 3 * i, room = abs(next - here) + 3;
      Tap<A>* const list = taps + at;
      int count = 0;
      Region::taps(start, size, row ? o.gh : o.gw, length, [&](int pixel, A weight) {
        pixel *= step;
        for (int k = count - 1; k >= 0 && k >= count - 2; --k)
          if (list[k].at == pixel) {
            list[k].weight += weight;
            return;
          }
        if (count < room) list[count++] = {pixel, weight};
      });
      ranges[b] = {at, count};
    }
  }
};

}  // namespace roi_upright

// x (B, C, H, W); a block has `some` channels.
template <class T, class Region>
__global__ void __launch_bounds__(256) pool_upright(int some, uint64_t by_bins, uint64_t by_columns, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, T* out) {
  using A = acc_t<T>;
  DYNAMIC_SHARED(unsigned char, memory);
  const roi_upright::Lists<A> lists(memory, oh, ow, h, w);
  const A* const roi = rois + int64_t(blockIdx.x) * Region::columns;
  const bool good = regions::valid(roi, Region::columns, batch);
  if (good) lists.template fill<Region>(Region::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned}), oh, ow, h, w, w);
  __syncthreads();
  const int c0 = blockIdx.y * some, n = min(some, channels - c0) * oh * ow;
  const int64_t size = int64_t(h) * w;
  const T* const source = x + (good ? int64_t(roi[0]) * channels + c0 : 0) * size;
  T* const result = out + (int64_t(blockIdx.x) * channels + c0) * oh * ow;
  const loops::FastDivider<uint32_t> bins(by_bins), columns(by_columns);
  for (uint32_t t = threadIdx.x; t < uint32_t(n); t += roi_upright::BLOCK) {
    uint32_t c = t, i = loops::split(c, bins);
    const uint32_t j = loops::split(i, columns);
    A sum = good ? A(0) : A(NAN);
    if (good) {
      const T* const plane = source + c * size;
      const roi_upright::Range rows = lists.ranges[i], along = lists.ranges[oh + j];
      for (int a = 0; a < rows.count; ++a) {
        const roi_upright::Tap<A> row = lists.taps[rows.start + a];
        const T* const line = plane + row.at;
        A part = 0;
        for (int b = 0; b < along.count; ++b) {
          const roi_upright::Tap<A> column = lists.taps[along.start + b];
          part += column.weight * A(line[column.at]);
        }
        sum += row.weight * part;
      }
    }
    result[t] = T(sum);
  }
}

// x (B, H, W, C), V channels a load (roi_last.cuh).
template <class T, int V, class Region>
__global__ void __launch_bounds__(256) pool_upright_last(uint64_t by_columns, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, T* out) {
  using A = acc_t<T>;
  constexpr int BINS = sizeof(T) == 8 ? 32 : 64;
  DYNAMIC_SHARED(unsigned char, memory);
  __shared__ __align__(8) unsigned char turned[roi_last::Tile<T, BINS>::BYTES];
  const roi_last::Tile<T, BINS> tile(turned);
  const roi_upright::Lists<A> lists(memory, oh, ow, h, w);
  const A* const roi = rois + int64_t(blockIdx.x) * Region::columns;
  const bool good = regions::valid(roi, Region::columns, batch);
  if (good) lists.template fill<Region>(Region::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned}), oh, ow, h, w, w);
  __syncthreads();
  const int c0 = blockIdx.y * roi_last::CHANNELS, some = min(roi_last::CHANNELS, channels - c0), bins = oh * ow;
  const roi_last::Lanes<V> own;
  const T* const source = x + (good ? int64_t(roi[0]) * h * w * channels : 0) + c0 + own.lane * V;
  T* const result = out + (int64_t(blockIdx.x) * channels + c0) * bins;
  roi_last::by_tiles<BINS>(
    own, some, bins, by_columns,
    [&](uint32_t i, uint32_t j, int b) {
      A sum[V];
      for (int v = 0; v < V; ++v) sum[v] = good ? A(0) : A(NAN);
      if (good) {
        const roi_upright::Range rows = lists.ranges[i], along = lists.ranges[oh + j];
        for (int a = 0; a < rows.count; ++a) {
          const roi_upright::Tap<A> row = lists.taps[rows.start + a];
          for (int q = 0; q < along.count; ++q) {
            const roi_upright::Tap<A> column = lists.taps[along.start + q];
            const A weight = row.weight * column.weight;
            const Channels<T, V> pixel = *reinterpret_cast<const Channels<T, V>*>(source + int64_t(row.at + column.at) * channels);
            for (int v = 0; v < V; ++v) sum[v] += weight * A(pixel.at[v]);
          }
        }
      }
      for (int v = 0; v < V; ++v) tile(own.lane * V + v, b) = T(sum[v]);
    },
    [&](int start, int here) { tile.write(some, here, bins, result + start); });
}

namespace roi_upright {

// A pixel row or column that some of a region's bins weigh, and the first of these.
struct Pixel { int at, bin; };

// For an axis, all pixels that its bins weigh, each once and in rising order, from the lists of the bins' taps.
template <class A> struct Pixels {
  const Tap<A>* taps;
  const Range* ranges;
  int bins;
  bool falling;  // a region of negative size: its last bin has the first pixels
  Pixel* pixels;
  int* leads;  // of each bin, how many pixels no earlier one has

  __device__ Range range(int q) const { return ranges[falling ? bins - 1 - q : q]; }
  __device__ int known(int q) const {  // the last pixel of earlier bins
    while (--q >= 0) {
      const Range r = range(q);
      if (r.count) return taps[r.start + r.count - 1].at;
    }
    return -1;
  }
  __device__ void count(int q) const {
    const Range r = range(q);
    const int last = known(q);
    int lead = 0;
    for (int t = 0; t < r.count; ++t) lead += taps[r.start + t].at > last;
    leads[q] = lead;
  }
  __device__ void list(int q) const {
    const Range r = range(q);
    int at = 0;
    for (int k = 0; k < q; ++k) at += leads[k];
    for (int t = r.count - leads[q]; t < r.count; ++t) pixels[at++] = {taps[r.start + t].at, q};
  }
  __device__ int size() const {
    int all = 0;
    for (int k = 0; k < bins; ++k) all += leads[k];
    return all;
  }
  // f(bin, weight) for those that weigh a pixel.
  template <class F> __device__ void each(Pixel p, F&& f) const {
    for (int q = p.bin; q < bins; ++q) {
      const Range r = range(q);
      for (int t = 0; t < r.count; ++t) {
        const Tap<A> tap = taps[r.start + t];
        if (tap.at == p.at) f(falling ? bins - 1 - q : q, tap.weight);
        if (tap.at >= p.at) {
          if (tap.at > p.at && t == 0) return;
          break;
        }
      }
    }
  }
};

constexpr int TOGETHER = 8;  // channels whose sums a thread has at once

}  // namespace roi_upright

// The features' gradient, (B, C, H, W), added to out: each pixel of a region once, with what all of its bins give it. A block has
// `some` channels.
template <class T, class Region>
__global__ void __launch_bounds__(256) spread_upright(int some, const T* grad, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, acc_t<T>* out) {
  using A = acc_t<T>;
  using roi_upright::TOGETHER;
  DYNAMIC_SHARED(unsigned char, memory);
  const roi_upright::Lists<A> lists(memory, oh, ow, h, w);
  const A* const roi = rois + int64_t(blockIdx.x) * Region::columns;
  if (!regions::valid(roi, Region::columns, batch)) return;
  const regions::Frame<A> frame = Region::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned});
  lists.template fill<Region>(frame, oh, ow, h, w, w);
  A* const given = reinterpret_cast<A*>(lists.ranges + oh + ow);
  const int bins = oh * ow;
  roi_upright::Pixel* const pixels = reinterpret_cast<roi_upright::Pixel*>(given + TOGETHER * bins);
  int* const leads = reinterpret_cast<int*>(pixels + h + w);
  const roi_upright::Pixels<A> rows = {lists.taps, lists.ranges, oh, frame.bh < 0, pixels, leads};
  const roi_upright::Pixels<A> columns = {lists.taps, lists.ranges + oh, ow, frame.bw < 0, pixels + h, leads + oh};
  __syncthreads();
  for (int b = threadIdx.x; b < oh + ow; b += roi_upright::BLOCK) b < oh ? rows.count(b) : columns.count(b - oh);
  __syncthreads();
  for (int b = threadIdx.x; b < oh + ow; b += roi_upright::BLOCK) b < oh ? rows.list(b) : columns.list(b - oh);
  const int width = columns.size(), all = rows.size() * width;
  const int64_t size = int64_t(h) * w;
  const int stop = min(channels, int(blockIdx.y + 1) * some);
  for (int c0 = blockIdx.y * some; c0 < stop; c0 += TOGETHER) {
    const int here = min(TOGETHER, stop - c0);
    const T* const source = grad + (int64_t(blockIdx.x) * channels + c0) * bins;
    __syncthreads();  // all have read the last channels' gradients
    for (int t = threadIdx.x; t < TOGETHER * bins; t += roi_upright::BLOCK) given[t] = t < here * bins ? A(source[t]) : A(0);
    __syncthreads();
    A* const target = out + (int64_t(roi[0]) * channels + c0) * size;
    for (int t = threadIdx.x; t < all; t += roi_upright::BLOCK) {
      const roi_upright::Pixel y = pixels[t / width], x = pixels[h + t % width];
      A sum[TOGETHER] = {};
      rows.each(y, [&](int i, A v) {
        columns.each(x, [&](int j, A u) {
          const A weight = v * u;
          for (int c = 0; c < TOGETHER; ++c) sum[c] += weight * given[c * bins + i * ow + j];
        });
      });
      for (int c = 0; c < here; ++c) atomicAdd(target + c * size + y.at + x.at, sum[c]);
    }
  }
}
