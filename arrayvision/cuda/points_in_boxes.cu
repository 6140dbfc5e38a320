// Which points lie in which boxes; see cpu/boxes3d.py. Boxes are prepared once, and wait in shared memory in tiles.
#include "boxes3d.cuh"
#include "loops.cuh"

constexpr int BLOCK = 256;  // threads, and boxes of a tile

using boxes3d::Frame;

template <class T>
__global__ void __launch_bounds__(BLOCK) prepare(int64_t n, const T* boxes, Frame* out) {
  const int64_t i = first();
  if (i >= n) return;
  Frame frame(boxes + 7 * i);
  if (!frame.is_finite()) frame.hx = -1;  // it holds nothing
  out[i] = frame;
}

// out: (clouds, points). A block's points are of one cloud: blockIdx.y.
template <class T>
__global__ void __launch_bounds__(BLOCK) part(int64_t clouds, int64_t points, int64_t count, const T* xyz, const Frame* boxes, int* out) {
  __shared__ __align__(8) unsigned char memory[BLOCK * sizeof(Frame)];
  Frame* const tile = reinterpret_cast<Frame*>(memory);
  const int64_t i = first();
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    T point[3] = {};
    if (i < points)
      for (int k = 0; k < 3; ++k) point[k] = xyz[3 * (cloud * points + i) + k];
    int64_t found = -1;
    for (int64_t start = 0; start < count; start += BLOCK) {
      const int size = int(count - start < BLOCK ? count - start : BLOCK);
      if (threadIdx.x < size) tile[threadIdx.x] = boxes[cloud * count + start + threadIdx.x];
      __syncthreads();
      for (int j = 0; j < size && found < 0; ++j)
        if (tile[j].contains(point)) found = start + j;
      __syncthreads();  // before the next tile takes this one's place
    }
    if (i < points) out[cloud * points + i] = int(found);
  }
}

// out: (clouds, points, count): a thread an element.
template <class T, class Index>
__global__ void __launch_bounds__(BLOCK) all(Index n, uint64_t by_count, uint64_t by_points, const T* xyz, const Frame* boxes, int* out) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> count(by_count), points(by_points);
  Index point = e;
  const Index box = loops::split(point, count);
  const Index cloud = points.quotient(point);
  out[e] = boxes[int64_t(cloud) * count.divisor + box].contains(xyz + 3 * int64_t(point));
}
