// Farthest points: a block a cloud. Each thread holds the least squares so far of some points in registers, and the points'
// coordinates there, in shared memory or, what has room in neither, in memory; the farthest of all is found by warps and then
// among them, with one barrier a sample.
#include "channels.cuh"

constexpr int BLOCK = 1024;  // threads at most
constexpr unsigned ALL = 0xffffffffu;
constexpr int NONE = 0x7fffffff;

// The greatest value and the lowest index that has it.
template <class A> struct Farthest {
  A value;
  int index;
  __device__ void take(A v, int i) {
    if (v > value || (v == value && i < index)) value = v, index = i;
  }
  // Of a warp's lanes, in all of them.
  __device__ void of_warp() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if constexpr (sizeof(A) == 4) {  // as integers in the same order, of which a warp has the greatest in one instruction
      const int bits = __float_as_int(value + 0.0f), key = bits ^ (bits >> 31 & 0x7fffffff);  // -0 is 0
      const int most = __reduce_max_sync(ALL, key);
      index = __reduce_min_sync(ALL, key == most ? index : NONE);
      value = __int_as_float(most ^ (most >> 31 & 0x7fffffff));
      return;
    }
#endif
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

// points (clouds, size, 3), out (clouds, count). PER points of a thread, by runs of neighbours, have their squares in registers and
// their first IN coordinates; where IN is 3 nothing else is needed. Else planes of coordinates, z first, are in `room` (clouds, 4,
// stride), with squares in the last for PER = 0, and `planes` of them, of the first `held` points, in shared memory; stride and held
// are multiples of 4. A square below 0 is of a point that is never chosen.
template <class T, int PER, int IN>
__global__ void __launch_bounds__(BLOCK) by_points(int size, int count, int held, int planes, int stride, const T* points, acc_t<T>* room, int* out) {
  using A = acc_t<T>;
  constexpr int RUN = PER == 1 || PER == 2 ? PER : 4, HELD = PER ? PER : RUN;
  using Some = Channels<A, RUN>;
  DYNAMIC_SHARED(A, fast);
  const T* const own = points + int64_t(blockIdx.x) * size * 3;
  A* const slow = room + int64_t(blockIdx.x) * 4 * stride;
  A* const squares = slow + int64_t(3) * stride;
  int* const chosen = out + int64_t(blockIdx.x) * count;
  A kept[IN ? IN : 1][HELD], square[HELD];
  const int groups = PER ? PER / RUN : (stride / RUN + int(blockDim.x) - 1) / int(blockDim.x);
#pragma unroll
  for (int g = 0; g < groups; ++g) {
    const int start = (g * blockDim.x + threadIdx.x) * RUN;
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
      const int k = PER ? g * RUN + j : j, i = start + j;
      A p[3] = {0, 0, 0};
      square[k] = -1;
      if (i < size) {
        for (int c = 0; c < 3; ++c) p[c] = A(own[int64_t(i) * 3 + c]);
        if (finite(p[0]) && finite(p[1]) && finite(p[2])) square[k] = INFINITY;
      }
#pragma unroll
      for (int c = 0; c < IN; ++c) kept[c][k] = p[c];
      if (IN < 3 && i < stride) {
        for (int c = 0; c < 3; ++c) {
          if (i < held && c < planes) fast[c * held + i] = p[2 - c];
          slow[int64_t(c) * stride + i] = p[2 - c];
        }
        if (PER == 0) squares[i] = square[k];
      }
    }
  }
  if (IN < 3) __syncthreads();
  int current = 0;
  if (threadIdx.x == 0) chosen[0] = 0;
  for (int s = 1; s < count; ++s) {
    A to[3];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      if (IN == 3) to[2 - c] = A(own[int64_t(current) * 3 + 2 - c]);
      else to[2 - c] = current < held && c < planes ? fast[c * held + current] : slow[int64_t(c) * stride + current];
    }
    Farthest<A> mine = {A(-2), NONE};
    int best = 0;
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      const int start = (g * blockDim.x + threadIdx.x) * RUN;
      Some p[IN < 3 ? 3 - IN : 1], before;
      if (IN < 3 && start < held) {
#pragma unroll
        for (int c = 0; c < 3 - IN; ++c) p[c] = *reinterpret_cast<const Some*>(fast + c * held + start);
      } else if (IN < 3) {
        if (start >= stride) break;
#pragma unroll
        for (int c = 0; c < 3 - IN; ++c) p[c] = *reinterpret_cast<const Some*>(slow + int64_t(c) * stride + start);
      }
      if (PER == 0) before = *reinterpret_cast<const Some*>(squares + start);
#pragma unroll
      for (int j = 0; j < RUN; ++j) {
        const int k = PER ? g * RUN + j : j;
        A d[3];
#pragma unroll
        for (int c = 0; c < 3; ++c) d[c] = (c < IN ? kept[c < IN ? c : 0][k] : p[c < IN ? 0 : 2 - c].at[j]) - to[c];
        // Not a number, which is no square's minimum, for a point or a sample that isn't finite.
        square[k] = min(PER ? square[k] : before.at[j], d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        if (square[k] > mine.value) mine.value = square[k], best = PER ? k : start + j;
        if (PER == 0) before.at[j] = square[k];
      }
      if (PER == 0) *reinterpret_cast<Some*>(squares + start) = before;
    }
    if (mine.value > A(-2)) mine.index = PER ? (best / RUN * blockDim.x + threadIdx.x) * RUN + best % RUN : best;
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
