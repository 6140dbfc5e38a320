// Upright boxes in space (x, y, z of the bottom's centre, dx, dy, dz, yaw), and the points in them: cpu/boxes3d.py. In double.
#pragma once
#include "prelude.cuh"

namespace boxes3d {

struct Frame {
  double x, y, z, hx, hy, hz, cosine, sine;  // the bottom's centre, halves of the sizes, of yaw

  __device__ explicit Frame(const double* box)
      : x(box[0]), y(box[1]), z(box[2]), hx(box[3] / 2), hy(box[4] / 2), hz(box[5] / 2), cosine(cos(box[6])), sine(sin(box[6])) {}

  // A point's x and y in the box's frame: turned round the box's centre by -yaw.
  __device__ double along(const double* point) const { return (point[0] - x) * cosine + (point[1] - y) * sine; }
  __device__ double across(const double* point) const { return (point[1] - y) * cosine - (point[0] - x) * sine; }

  __device__ bool is_finite() const {
    return finite(x) && finite(y) && finite(z) && finite(hx) && finite(hy) && finite(hz) && finite(cosine);
  }

  // Whether a point is in the box: strictly in x and y, ends of z included; never for NaN, nor for an infinite x.
  __device__ bool contains(const double* point) const {
    return fabs(point[2] - (z + hz)) <= hz && fabs(along(point)) < hx && fabs(across(point)) < hy;
  }
};

constexpr int BLOCK = 256;

}  // namespace boxes3d

// counts[b] = how many points are in box b. `per` boxes and `points` points are of one example; a block has a box.
__global__ void __launch_bounds__(256) count_members(int64_t per, int64_t points, const double* boxes, const double* xyz, int* counts) {
  __shared__ int total;
  const int64_t b = blockIdx.x;
  const boxes3d::Frame frame(boxes + 7 * b);
  const double* const own = xyz + 3 * points * (b / per);
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  int count = 0;
  if (frame.is_finite())
    for (int64_t i = threadIdx.x; i < points; i += blockDim.x) count += frame.contains(own + 3 * i);
  if (count) atomicAdd(&total, count);
  __syncthreads();
  if (threadIdx.x == 0) counts[b] = total;
}

// The points of each box, rising, box by box: members[e] = a point of boxes[owners[e]]. `ends` are running sums of counts.
__global__ void __launch_bounds__(256) list_members(int64_t per, int64_t points, const double* boxes, const double* xyz, const int* counts, const int64_t* ends, int* owners, int* members) {
  __shared__ int before[boxes3d::BLOCK / WARP];
  const int64_t b = blockIdx.x;
  const boxes3d::Frame frame(boxes + 7 * b);
  const double* const own = xyz + 3 * points * (b / per);
  int64_t at = ends[b] - counts[b];
  if (counts[b] == 0) return;  // the whole block
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  for (int64_t top = 0; top < points && at < ends[b]; top += blockDim.x) {
    const int64_t i = top + threadIdx.x;
    const bool inside = i < points && frame.contains(own + 3 * i);
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
