// Which points lie in which boxes; see cpu/boxes3d.py. Boxes are prepared once; most points are so far from most boxes that floats
// tell.
#include "boxes3d.cuh"
#include "loops.cuh"

constexpr int BLOCK = 256;  // threads, and boxes of a tile

constexpr int EACH = 64;  // points of a thread of `all`

using boxes3d::Frame;
using boxes3d::near;
using boxes3d::Rough;

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
  __shared__ __align__(16) unsigned char rough_memory[BLOCK * sizeof(Rough)];
  Frame* const tile = reinterpret_cast<Frame*>(memory);
  Rough* const rough = reinterpret_cast<Rough*>(rough_memory);
  const int64_t i = first();
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    T point[3] = {};
    float about[3] = {0, 0, 0};
    if (i < points)
      for (int k = 0; k < 3; ++k) point[k] = xyz[3 * (cloud * points + i) + k], about[k] = near(point[k]);
    int64_t found = -1;
    for (int64_t start = 0; start < count; start += BLOCK) {
      const int size = int(count - start < BLOCK ? count - start : BLOCK);
      if (threadIdx.x < size) {
        const Frame box = boxes[cloud * count + start + threadIdx.x];
        tile[threadIdx.x] = box, rough[threadIdx.x] = Rough(box);
      }
      __syncthreads();
#pragma unroll 4
      for (int j = 0; j < size; ++j)
        if (!rough[j].misses(about) && found < 0 && tile[j].contains(point)) found = start + j;
      __syncthreads();  // before the next tile takes this one's place
    }
    if (i < points) out[cloud * points + i] = int(found);
  }
}

// out: (clouds, points, count). A thread has a box and every `steps`-th point of the cloud, EACH or fewer; neighbouring threads have
// neighbouring boxes, and then the next point.
template <class T, class Index>
__global__ void __launch_bounds__(BLOCK) all(Index n, uint64_t by_count, uint64_t by_steps, Index points, const T* xyz, const Frame* boxes, int* out) {
  Index cloud = loops::thread<Index>();
  if (cloud >= n) return;
  const loops::FastDivider<Index> count(by_count), steps(by_steps);
  const Index box = loops::split(cloud, count), from = loops::split(cloud, steps);
  const Frame frame = boxes[int64_t(cloud) * count.divisor + box];
  const Rough rough(frame);
  const int64_t row = int64_t(cloud) * points + from;
  const T* point = xyz + 3 * row;
  int* target = out + row * count.divisor + box;
#pragma unroll 2
  for (Index p = from; p < points; p += steps.divisor, point += 3 * int64_t(steps.divisor), target += int64_t(steps.divisor) * count.divisor) {
    const float about[3] = {near(point[0]), near(point[1]), near(point[2])};
    *target = !rough.misses(about) && frame.contains(point);
  }
}
