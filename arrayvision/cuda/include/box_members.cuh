// The points in upright boxes in space, box by box: cpu/boxes3d.py. A file that includes this instantiates its kernels.
#pragma once
#include "boxes3d.cuh"

namespace box_members {

constexpr int BLOCK = 256;

// A box, made by one thread and read by its block after a barrier.
struct Held {
  __align__(8) unsigned char memory[sizeof(boxes3d::Frame)];
  __device__ boxes3d::Frame& frame() { return *reinterpret_cast<boxes3d::Frame*>(memory); }
};

}  // namespace box_members

// Points in floats, which tell of most of them that they aren't in a box.
__global__ void __launch_bounds__(256) round_points(int64_t n, const double* xyz, float* about) {
  for (int64_t i = first(); i < n; i += stride()) about[i] = boxes3d::near(xyz[i]);
}

// counts[b] = how many points are in box b. `per` boxes and `points` points are of one example; a block has a box.
__global__ void __launch_bounds__(256) count_members(int64_t per, int64_t points, const double* boxes, const double* xyz, const float* about, int* counts) {
  __shared__ int total;
  __shared__ box_members::Held box;
  const int64_t b = blockIdx.x, before = 3 * points * (b / per);
  if (threadIdx.x == 0) total = 0, box.frame() = boxes3d::Frame(boxes + 7 * b);
  __syncthreads();
  const boxes3d::Frame& frame = box.frame();
  const boxes3d::Rough rough(frame);
  int count = 0;
  if (frame.is_finite())
    for (int64_t i = threadIdx.x; i < points; i += blockDim.x) {
      const float* const p = about + before + 3 * i;
      const float near[3] = {p[0], p[1], p[2]};
      count += !rough.misses(near) && frame.contains(xyz + before + 3 * i);
    }
  if (count) atomicAdd(&total, count);
  __syncthreads();
  if (threadIdx.x == 0) counts[b] = total;
}

// The points of each box, rising, box by box: members[e] = a point of boxes[owners[e]]. `ends` are running sums of counts.
__global__ void __launch_bounds__(256) list_members(int64_t per, int64_t points, const double* boxes, const double* xyz, const float* about, const int* counts, const int64_t* ends, int* owners, int* members) {
  __shared__ int before[box_members::BLOCK / WARP];
  __shared__ box_members::Held box;
  const int64_t b = blockIdx.x, start = 3 * points * (b / per);
  int64_t at = ends[b] - counts[b];
  if (counts[b] == 0) return;  // the whole block
  if (threadIdx.x == 0) box.frame() = boxes3d::Frame(boxes + 7 * b);
  __syncthreads();
  const boxes3d::Frame& frame = box.frame();
  const boxes3d::Rough rough(frame);
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  for (int64_t top = 0; top < points && at < ends[b]; top += blockDim.x) {
    const int64_t i = top + threadIdx.x;
    bool inside = false;
    if (i < points) {
      const float* const p = about + start + 3 * i;
      const float near[3] = {p[0], p[1], p[2]};
      inside = !rough.misses(near) && frame.contains(xyz + start + 3 * i);
    }
    const unsigned votes = __ballot_sync(0xffffffffu, inside);
    if (lane == 0) before[warp] = __popc(votes);
    __syncthreads();
    int64_t place = at;
    for (int w = 0; w < int(blockDim.x) / WARP; ++w) {
      if (w < warp) place += before[w];
      at += before[w];
    }
    place += __popc(votes & ((1u << lane) - 1));
    if (inside && place < ends[b]) {
      owners[place] = int(b);
      members[place] = int(i);
    }
    __syncthreads();  // before the next points' counts
  }
}
