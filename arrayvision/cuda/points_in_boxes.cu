// Which points lie in which boxes; see cpu/points_in_boxes.py. Boxes are prepared once, and wait in shared memory in tiles.
#include "loops.cuh"

constexpr int BLOCK = 256;  // threads, and boxes of a tile

template <class A> struct Prepared {
  A x, y, z, cos, sin, half_x, half_y, half_z;

  __device__ bool holds(A px, A py, A pz) const {
    const A dx = px - x, dy = py - y;
    return fabs(dx * cos + dy * sin) < half_x && fabs(dy * cos - dx * sin) < half_y && fabs(pz - z) <= half_z;
  }
};

template <class T>
__global__ void __launch_bounds__(BLOCK) prepare(int64_t n, const T* boxes, Prepared<acc_t<T>>* out) {
  using A = acc_t<T>;
  const int64_t i = first();
  if (i >= n) return;
  const T* const b = boxes + 7 * i;
  const A half = A(0.5), x = A(b[0]), y = A(b[1]), z = A(b[2]), dx = A(b[3]), dy = A(b[4]), dz = A(b[5]);
  const double angle = double(A(b[6])), total = angle + double(x) + double(y) + double(z) + double(dx) + double(dy) + double(dz);
  const bool fine = finite(total);  // else it holds nothing
  out[i] = {x, y, z + half * dz, A(cos(angle)), A(sin(angle)), fine ? half * dx : -half, fine ? half * dy : -half, fine ? half * dz : -half};
}

// out: (clouds, points). A block's points are of one cloud: blockIdx.y.
template <class T>
__global__ void __launch_bounds__(BLOCK) part(int64_t clouds, int64_t points, int64_t count, const T* xyz, const Prepared<acc_t<T>>* boxes, int* out) {
  using A = acc_t<T>;
  __shared__ __align__(8) unsigned char memory[BLOCK * sizeof(Prepared<A>)];
  Prepared<A>* const tile = reinterpret_cast<Prepared<A>*>(memory);
  const int64_t i = first();
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    A x = 0, y = 0, z = 0;
    if (i < points) {
      const T* const p = xyz + 3 * (cloud * points + i);
      x = A(p[0]), y = A(p[1]), z = A(p[2]);
    }
    int64_t found = -1;
    for (int64_t start = 0; start < count; start += BLOCK) {
      const int size = int(count - start < BLOCK ? count - start : BLOCK);
      if (threadIdx.x < size) tile[threadIdx.x] = boxes[cloud * count + start + threadIdx.x];
      __syncthreads();
      for (int j = 0; j < size && found < 0; ++j)
        if (tile[j].holds(x, y, z)) found = start + j;
      __syncthreads();  // before the next tile takes this one's place
    }
    if (i < points) out[cloud * points + i] = int(found);
  }
}

// out: (clouds, points, count): a thread an element.
template <class T, class Index>
__global__ void __launch_bounds__(BLOCK) all(Index n, uint64_t by_count, uint64_t by_points, const T* xyz, const Prepared<acc_t<T>>* boxes, int* out) {
  using A = acc_t<T>;
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> count(by_count), points(by_points);
  Index point = e;
  const Index box = loops::split(point, count);
  const Index cloud = points.quotient(point);
  const T* const p = xyz + 3 * int64_t(point);
  out[e] = boxes[int64_t(cloud) * count.divisor + box].holds(A(p[0]), A(p[1]), A(p[2]));
}
