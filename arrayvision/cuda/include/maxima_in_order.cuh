// The gradient of regions' maxima in a fixed order: a block has a tile of pixels and some channels of an image, and gathers what bins
// give it, in their order.
//
// A kind of maxima stands for a region: Kind(region, pooling, map's height and width), Bin and bin(row, column) for what all channels
// of a bin share, and chosen(bin, number, y, above, fy, x, behind, fx) for the pixels round the sample of that number and the second
// ones' shares, which is false for none.
#pragma once
#include "roi_in_order.cuh"

namespace maxima {

constexpr int BINS = 16;  // at a time
constexpr int BLOCK = roi_in_order::BLOCK, SIDE = roi_in_order::SIDE;

template <class A> constexpr int CHANNELS = roi_in_order::CHANNELS / (sizeof(A) == 8 ? 2 : 1);  // of a block

// What a bin gives a channel: a number, for the tile's pixel (row, column), which may be -1, and, by their shares, for the next ones.
template <class A> struct __align__(16) Pick { A value, fy, fx; int16_t row, column; };
constexpr int16_t NONE = -2;

}  // namespace maxima

// The pixels that channels chose, for each of a region's bins and, behind them, for the region: the first row, the one after the last,
// and the same of columns. A block a region.
template <class A, class Kind>
__global__ void __launch_bounds__(256) find_choices(const int* which, const A* rois, int batch, int channels, int h, int w, int oh, int ow, A scale, int sampling, bool aligned, int* extents) {
  using maxima::BLOCK;
  __shared__ int found[BLOCK][4], all[4];
  const A* const roi = rois + int64_t(blockIdx.x) * Kind::columns;
  const bool good = regions::valid(roi, Kind::columns, batch);
  const int bins = oh * ow;
  int* const result = extents + int64_t(blockIdx.x) * (bins + 1) * 4;
  if (threadIdx.x < 4) all[threadIdx.x] = threadIdx.x % 2 ? 0 : 0x7fffffff;
  for (int start = 0; start < bins; start += BLOCK) {
    const int here = min(BLOCK, bins - start);
    int lanes = WARP;  // of a channel's bins
    while (lanes < here) lanes *= 2;
    for (int e = 0; e < 4; ++e) found[threadIdx.x][e] = e % 2 ? 0 : 0x7fffffff;
    __syncthreads();
    const int lane = int(threadIdx.x) % lanes, b = start + lane;
    if (good && lane < here) {
      const Kind kind(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned}, h, w);
      const typename Kind::Bin bin = kind.bin(b / ow, b % ow);
      int y0 = 0x7fffffff, y1 = 0, x0 = 0x7fffffff, x1 = 0;
      for (int c = int(threadIdx.x) / lanes; c < channels; c += BLOCK / lanes) {
        int y, above, x, behind;
        A fy, fx;
        if (kind.chosen(bin, which[(int64_t(blockIdx.x) * channels + c) * bins + b], y, above, fy, x, behind, fx))
          y0 = min(y0, y), y1 = max(y1, above + 1), x0 = min(x0, x), x1 = max(x1, behind + 1);
      }
      if (y1 > 0) {
        int *const its = found[lane];
        atomicMin(its, y0), atomicMax(its + 1, y1), atomicMin(its + 2, x0), atomicMax(its + 3, x1);
        atomicMin(all, y0), atomicMax(all + 1, y1), atomicMin(all + 2, x0), atomicMax(all + 3, x1);
      }
    }
    __syncthreads();
    for (int t = threadIdx.x; t < here * 4; t += BLOCK) result[start * 4 + t] = found[t / 4][t % 4];
    __syncthreads();  // before the next bins
  }
  if (threadIdx.x < 4) result[bins * 4 + threadIdx.x] = all[threadIdx.x];
}

// out (B, C, H, W) = the features' gradient; `across` tiles lie beside one another.
template <class T, class Kind>
__global__ void __launch_bounds__(256, sizeof(acc_t<T>) == 8 ? 2 : 4) gather_maxima(int count, int across, const T* grad, const int* which, const acc_t<T>* rois, const int* extents, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, T* out) {
  using A = acc_t<T>;
  using namespace maxima;
  constexpr int CHANNELS = maxima::CHANNELS<A>, OWNERS = BLOCK / CHANNELS;  // a row of pixels has an owner for each channel
  struct Known { Kind kind; typename Kind::Bin bin; int64_t at; };
  __shared__ int touching[BLOCK], items[BLOCK], sums[BLOCK / WARP];
  __shared__ A gathered[SIDE * SIDE * CHANNELS];
  __shared__ Pick<A> picks[BINS * (CHANNELS + 1)];  // so that a channel's bins lie in different banks
  __shared__ __align__(16) unsigned char memory[BINS * sizeof(Known)];
  Known* const known = reinterpret_cast<Known*>(memory);
  const int top = int(blockIdx.x) / across * SIDE, left = int(blockIdx.x) % across * SIDE;
  const int c0 = blockIdx.y * CHANNELS, here = min(CHANNELS, channels - c0), bins = oh * ow;
  const int channel = threadIdx.x % CHANNELS, owner = threadIdx.x / CHANNELS;
  const auto meets = [&](const int* e) { return e[0] < top + SIDE && e[1] > top && e[2] < left + SIDE && e[3] > left; };
  for (int image = blockIdx.z; image < batch; image += gridDim.z) {
    for (int t = threadIdx.x; t < SIDE * SIDE * CHANNELS; t += BLOCK) gathered[t] = 0;
    for (int start = 0; start < count; start += BLOCK) {
      const int64_t candidate = start + int(threadIdx.x);
      const bool touches = candidate < count && meets(extents + (candidate * (bins + 1) + bins) * 4) && int(rois[candidate * Kind::columns]) == image;
      int regions_here, bins_here;
      const int place = roi_in_order::counted_before(touches, sums, regions_here);
      if (touches) touching[place] = int(candidate);
      __syncthreads();
      for (int from = 0; from < regions_here * bins; from += BLOCK) {
        const int item = from + threadIdx.x;
        const bool mine = item < regions_here * bins && meets(extents + (int64_t(touching[item / bins]) * (bins + 1) + item % bins) * 4);
        const int at = roi_in_order::counted_before(mine, sums, bins_here);
        if (mine) items[at] = item;
        for (int first_bin = 0; first_bin < bins_here; first_bin += BINS) {
          const int some = min(BINS, bins_here - first_bin);
          __syncthreads();
          if (int(threadIdx.x) < some) {
            const int its = items[first_bin + threadIdx.x], b = its % bins;
            const int64_t k = touching[its / bins];
            const Kind kind(rois + k * Kind::columns, regions::Pooling<A>{oh, ow, scale, sampling, aligned}, h, w);
            known[threadIdx.x] = {kind, kind.bin(b / ow, b % ow), (k * channels + c0) * bins + b};
          }
          __syncthreads();
          for (int t = threadIdx.x; t < BINS * CHANNELS; t += BLOCK) {
            const int b = t % BINS, c = t / BINS;
            if (b >= some || c >= here) continue;
            const int64_t its = known[b].at + int64_t(c) * bins;
            int y, above, x, behind;
            A fy, fx;
            Pick<A> pick = {0, 0, 0, NONE, NONE};
            if (known[b].kind.chosen(known[b].bin, which[its], y, above, fy, x, behind, fx)) {
              y -= top, x -= left;
              if (y >= -1 && y < SIDE && x >= -1 && x < SIDE) pick = {A(grad[its]), fy, fx, int16_t(y), int16_t(x)};
            }
            picks[b * (CHANNELS + 1) + c] = pick;
          }
          __syncthreads();
          for (int b = 0; channel < here && b < some; ++b) {
            const Pick<A> pick = picks[b * (CHANNELS + 1) + channel];
            for (int next = 0; next < 2; ++next) {
              const int y = pick.row + next, x = pick.column;
              if (pick.row == NONE || y < 0 || y >= SIDE || y % OWNERS != owner || (next && !(pick.fy > 0))) continue;
              const A value = pick.value * (next ? pick.fy : 1 - pick.fy);
              A* const pixel = gathered + (y * SIDE + x) * CHANNELS + channel;
              if (x >= 0) *pixel += value * (1 - pick.fx);
              if (x + 1 < SIDE && pick.fx > 0) pixel[CHANNELS] += value * pick.fx;
            }
          }
        }
        __syncthreads();  // before others are listed
      }
    }
    __syncthreads();
    for (int t = threadIdx.x; t < SIDE * SIDE * CHANNELS; t += BLOCK) {
      const int c = t / (SIDE * SIDE), y = top + t / SIDE % SIDE, x = left + t % SIDE;
      if (c < here && y < h && x < w) out[((int64_t(image) * channels + c0 + c) * h + y) * w + x] = T(gathered[t % (SIDE * SIDE) * CHANNELS + c]);
    }
    __syncthreads();  // before the next image
  }
}
