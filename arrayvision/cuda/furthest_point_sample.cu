// Farthest points: a block a cloud. Each thread holds some points and their least squares so far in registers, or where there are
// too many in memory; the farthest of all is found by warps and then among them, with one barrier a sample.
#include "prelude.cuh"

constexpr int BLOCK = 1024;  // threads at most
constexpr unsigned ALL = 0xffffffffu;

// The greatest value and the lowest index that has it.
template <class A> struct Farthest {
  A value;
  int index;
  __device__ void take(A v, int i) {
    if (v > value || (v == value && i < index)) value = v, index = i;
  }
  // Of a warp's lanes, in all of them.
  __device__ void of_warp() {
    for (int lane = WARP / 2; lane; lane /= 2) {
      const A v = __shfl_xor_sync(ALL, value, lane);
      const int i = __shfl_xor_sync(ALL, index, lane);
      take(v, i);
    }
  }
};

// Of a block's threads, in all of them; turn is even and odd in turn.
template <class A> __device__ inline int farthest_of_block(Farthest<A> mine, int turn) {
  __shared__ A values[2][WARP];
  __shared__ int indices[2][WARP];
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  mine.of_warp();
  if (lane == 0) values[turn & 1][warp] = mine.value, indices[turn & 1][warp] = mine.index;
  __syncthreads();
  if (lane < warps) mine = {values[turn & 1][lane], indices[turn & 1][lane]};
  mine.of_warp();
  return mine.index;
}

constexpr int NONE = 0x7fffffff;

// points (clouds, size, 3), out (clouds, count). PER points of a thread are in registers; for 0 their squares are in `room`,
// (clouds, size). A square below 0 is of a point that is never chosen.
template <class T, int PER> __global__ void __launch_bounds__(BLOCK) by_points(int size, int count, const T* points, acc_t<T>* room, int* out) {
  using A = acc_t<T>;
  const T* const own = points + int64_t(blockIdx.x) * size * 3;
  A* const squares = room + int64_t(blockIdx.x) * size;
  int* const chosen = out + int64_t(blockIdx.x) * count;
  constexpr int HELD = PER ? PER : 1;
  A x[HELD], y[HELD], z[HELD], square[HELD];
  if constexpr (PER > 0) {
#pragma unroll
    for (int k = 0; k < PER; ++k) {
      const int i = k * blockDim.x + threadIdx.x;
      x[k] = y[k] = z[k] = 0, square[k] = -1;
      if (i < size) {
        x[k] = A(own[int64_t(i) * 3]), y[k] = A(own[int64_t(i) * 3 + 1]), z[k] = A(own[int64_t(i) * 3 + 2]);
        if (finite(x[k]) && finite(y[k]) && finite(z[k])) square[k] = INFINITY;
      }
    }
  } else {
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      const bool good = finite(A(own[int64_t(i) * 3])) && finite(A(own[int64_t(i) * 3 + 1])) && finite(A(own[int64_t(i) * 3 + 2]));
      squares[i] = good ? A(INFINITY) : A(-1);
    }
  }
  int current = 0;
  if (threadIdx.x == 0) chosen[0] = 0;
  for (int s = 1; s < count; ++s) {
    const A px = A(own[int64_t(current) * 3]), py = A(own[int64_t(current) * 3 + 1]), pz = A(own[int64_t(current) * 3 + 2]);
    const bool good = finite(px) && finite(py) && finite(pz);
    Farthest<A> mine = {A(-2), NONE};
    if constexpr (PER > 0) {
#pragma unroll
      for (int k = 0; k < PER; ++k) {
        const int i = k * blockDim.x + threadIdx.x;
        const A dx = x[k] - px, dy = y[k] - py, dz = z[k] - pz, d = dx * dx + dy * dy + dz * dz;
        if (good && d < square[k]) square[k] = d;
        if (i < size) mine.take(square[k], i);
      }
    } else {
      for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const A dx = A(own[int64_t(i) * 3]) - px, dy = A(own[int64_t(i) * 3 + 1]) - py, dz = A(own[int64_t(i) * 3 + 2]) - pz;
        const A d = dx * dx + dy * dy + dz * dz;
        A square = squares[i];
        if (good && d < square) squares[i] = square = d;
        mine.take(square, i);
      }
    }
    current = farthest_of_block(mine, s);
    if (threadIdx.x == 0) chosen[s] = current;
  }
}

// distances (clouds, size, size); NaN counts as less than all numbers.
template <class T, int PER> __global__ void __launch_bounds__(BLOCK) by_distances(int size, int count, const T* distances, acc_t<T>* room, int* out) {
  using A = acc_t<T>;
  const T* const own = distances + int64_t(blockIdx.x) * size * size;
  A* const least = room + int64_t(blockIdx.x) * size;
  int* const chosen = out + int64_t(blockIdx.x) * count;
  A held[PER ? PER : 1];
  if constexpr (PER > 0) {
#pragma unroll
    for (int k = 0; k < PER; ++k) held[k] = INFINITY;
  } else {
    for (int i = threadIdx.x; i < size; i += blockDim.x) least[i] = INFINITY;
  }
  int current = 0;
  if (threadIdx.x == 0) chosen[0] = 0;
  for (int s = 1; s < count; ++s) {
    const T* const row = own + int64_t(current) * size;
    Farthest<A> mine = {A(-INFINITY), NONE};
    if constexpr (PER > 0) {
#pragma unroll
      for (int k = 0; k < PER; ++k) {
        const int i = k * blockDim.x + threadIdx.x;
        if (i >= size) continue;
        const A d = A(row[i]);
        if (d != d) held[k] = -INFINITY;
        else if (d < held[k]) held[k] = d;
        mine.take(held[k], i);
      }
    } else {
      for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const A d = A(row[i]);
        A value = least[i];
        if (d != d) least[i] = value = -INFINITY;
        else if (d < value) least[i] = value = d;
        mine.take(value, i);
      }
    }
    current = farthest_of_block(mine, s);
    if (threadIdx.x == 0) chosen[s] = current;
  }
}
