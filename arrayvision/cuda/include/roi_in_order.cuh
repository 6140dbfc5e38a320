// The gradient of pooled features in a fixed order: who owns a pixel gathers what regions give it, in their order and that of their
// bins and samples.
#pragma once
#include "prelude.cuh"
#include "regions.cuh"

namespace roi_in_order {

constexpr int SIDE = 16;      // of a block's tile of pixels, a thread each
constexpr int CHANNELS = 32;  // of a block; half as many of double
constexpr int BLOCK = 256;    // SIDE * SIDE
constexpr int LISTED = 512;   // samples in the tile, at a time

// How much the threads before this one counted, and all of the block's together. All threads come here.
__device__ inline int counted_before(int count, int* sums, int& all) {
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int before = count;
  for (int step = 1; step < WARP; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, before, step);
    if (lane >= step) before += other;
  }
  __syncthreads();  // all have read the last call's sums
  if (lane == WARP - 1) sums[warp] = before;
  __syncthreads();
  before -= count, all = 0;
  for (int w = 0; w < BLOCK / WARP; ++w) {
    if (w < warp) before += sums[w];
    all += sums[w];
  }
  return before;
}

}  // namespace roi_in_order

// The pixels that a region's samples touch: the first row, the one after the last, and the same of columns. A block a region.
template <class A, class Region>
__global__ void __launch_bounds__(256) find_extents(const A* rois, bool moved, const A* offset, int batch, int h, int w, int oh, int ow, A scale, int sampling, bool aligned, bool clockwise, A gamma, int* extents) {
  const regions::Pooling<A> pooling = {oh, ow, scale, sampling, aligned, clockwise, gamma, moved ? offset : nullptr};
  __shared__ int found[4];
  if (threadIdx.x < 4) found[threadIdx.x] = threadIdx.x % 2 ? 0 : 0x7fffffff;
  __syncthreads();
  const int64_t k = blockIdx.x;
  const A* const roi = rois + k * Region::columns;
  if (regions::valid(roi, Region::columns, batch)) {
    int top = 0x7fffffff, bottom = 0, left = 0x7fffffff, right = 0;
    for (int bin = threadIdx.x; bin < oh * ow; bin += blockDim.x)
      Region::visit(roi, pooling, k, bin / ow, bin % ow, h, w, [&](int r, int c, A) {
        top = min(top, r), bottom = max(bottom, r + 1), left = min(left, c), right = max(right, c + 1);
      });
    if (bottom > 0) atomicMin(found, top), atomicMax(found + 1, bottom), atomicMin(found + 2, left), atomicMax(found + 3, right);
  }
  __syncthreads();
  if (threadIdx.x < 4) extents[k * 4 + threadIdx.x] = found[threadIdx.x];
}

// out (B, C, H, W) = the features' gradient; `across` tiles lie beside one another.
template <class T, class Region>
__global__ void __launch_bounds__(256, sizeof(acc_t<T>) == 8 ? 2 : 3) gather_in_order(int count, int across, const T* grad, const acc_t<T>* rois, const int* extents, bool moved, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, bool clockwise, acc_t<T> gamma, T* out) {
  using A = acc_t<T>;
  using namespace roi_in_order;
  const regions::Pooling<A> pooling = {oh, ow, scale, sampling, aligned, clockwise, gamma, moved ? offset : nullptr};
  constexpr int CHANNELS = roi_in_order::CHANNELS / (sizeof(A) == 8 ? 2 : 1);
  __shared__ int touching[BLOCK], sums[BLOCK / WARP], pixels[LISTED];
  __shared__ int64_t sources[LISTED];
  __shared__ A weights[LISTED], gathered[CHANNELS][BLOCK];  // in registers they would be in the way of `visit`
  const int top = int(blockIdx.x) / across * SIDE, left = int(blockIdx.x) % across * SIDE;
  const int c0 = blockIdx.y * CHANNELS, here = min(CHANNELS, channels - c0), bins = oh * ow;
  for (int image = blockIdx.z; image < batch; image += gridDim.z) {
    for (int c = 0; c < CHANNELS; ++c) gathered[c][threadIdx.x] = 0;
    for (int start = 0; start < count; start += BLOCK) {
      const int candidate = start + threadIdx.x;
      bool touches = false;
      if (candidate < count) {
        const int* const e = extents + int64_t(candidate) * 4;
        touches = e[0] < top + SIDE && e[1] > top && e[2] < left + SIDE && e[3] > left && int(rois[int64_t(candidate) * Region::columns]) == image;
      }
      int regions_here;
      const int place = counted_before(touches, sums, regions_here);
      if (touches) touching[place] = candidate;
      __syncthreads();
      // Threads have bins of as many regions as they are, in order.
      for (int first_bin = 0; first_bin < regions_here * bins; first_bin += BLOCK) {
        const int item = first_bin + threadIdx.x, bin = item % bins;
        const bool some_bin = item < regions_here * bins;
        const int64_t k = some_bin ? touching[item / bins] : 0;
        int mine = 0, before = 0, all = 0;
        for (int from = -LISTED; from < all; from += LISTED) {  // counts first, and then lists so many at a time
          const bool counting = from < 0;
          int at = counting ? 0 : before - from;
          if (some_bin && (counting || (mine > 0 && at < LISTED && at + mine > 0)))
            Region::visit(rois + k * Region::columns, pooling, k, bin / ow, bin % ow, h, w, [&](int r, int c, A weight) {
              const unsigned y = unsigned(r - top), x = unsigned(c - left);
              if (y >= SIDE || x >= SIDE) return;
              if (!counting && at >= 0 && at < LISTED)
                pixels[at] = int(y * SIDE + x), sources[at] = (k * channels + c0) * bins + bin, weights[at] = weight;
              ++at;
            });
          if (counting) {
            mine = at, before = counted_before(mine, sums, all);
            continue;
          }
          __syncthreads();
          const int some = min(LISTED, all - from);
          for (int s = 0; s < some; s += WARP) {
            unsigned own = 0;
            for (int j = 0; j < min(WARP, some - s); ++j) own |= unsigned(pixels[s + j] == int(threadIdx.x)) << j;
            if (!own) continue;
#pragma unroll 1
            for (; own; own &= own - 1) {
              const int j = s + __ffs(int(own)) - 1;
              const A weight = weights[j];
              const T* const its = grad + sources[j];
#pragma unroll
              for (int c = 0; c < CHANNELS; ++c)
                if (c < here) gathered[c][threadIdx.x] = fma(weight, A(its[int64_t(c) * bins]), gathered[c][threadIdx.x]);
            }
          }
          __syncthreads();  // before others take their place
        }
      }
    }
    const int y = top + threadIdx.x / SIDE, x = left + threadIdx.x % SIDE;
    if (y < h && x < w)
      for (int c = 0; c < CHANNELS; ++c)
        if (c < here) out[((int64_t(image) * channels + c0 + c) * h + y) * w + x] = T(gathered[c][threadIdx.x]);
  }
}
