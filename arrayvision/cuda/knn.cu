// The k nearest points of each point: a warp a centre, points in tiles in shared memory, compared 32 at a time. Lists of up to
// 32 lie in registers, a place a lane; longer ones in memory.
#include "prelude.cuh"

constexpr int BLOCK = 256;  // threads, and points of a tile
constexpr int WARPS = 8;  // of a block, and its centres
constexpr unsigned ALL = 0xffffffffu;

// A list of the k nearest so far, sorted. Points come by rising index, so a later one goes behind its equals. All lanes of a
// warp call its functions together.
template <class A> struct ShortList {
  A square;
  int index;
  const int lane, k;
  __device__ ShortList(A*, int*, int lane, int k) : square(INFINITY), index(-1), lane(lane), k(k) {}
  __device__ A farthest() const { return __shfl_sync(ALL, square, k - 1); }
  __device__ int filled() const { return __popc(__ballot_sync(ALL, lane < k && index >= 0)); }
  __device__ void add(A s, int i) {
    const int place = __popc(__ballot_sync(ALL, square <= s));
    const A its_square = __shfl_up_sync(ALL, square, 1);
    const int its_index = __shfl_up_sync(ALL, index, 1);
    if (lane > place) square = its_square, index = its_index;
    if (lane == place) square = s, index = i;
  }
  __device__ void put(int place, int i) {
    if (lane == place) index = i;
  }
  __device__ int at(int) const { return index; }
};

template <class A> struct LongList {
  A* const squares;
  int* const indices;
  const int lane, k;
  __device__ LongList(A* squares, int* indices, int lane, int k) : squares(squares), indices(indices), lane(lane), k(k) {
    for (int j = lane; j < k; j += WARP) squares[j] = INFINITY, indices[j] = -1;
    __syncwarp();
  }
  __device__ A farthest() const { return squares[k - 1]; }
  __device__ int filled() const {
    int count = 0;
    for (int start = 0; start < k; start += WARP)
      count += __popc(__ballot_sync(ALL, start + lane < k && indices[start + lane < k ? start + lane : 0] >= 0));
    return count;
  }
  __device__ void add(A s, int i) {
    for (int start = (k - 1) / WARP * WARP; start >= 0; start -= WARP) {  // from the end
      const int j = start + lane;
      const bool changes = j < k && squares[j < k ? j : 0] > s;
      const bool moves = changes && j > 0 && squares[j > 0 ? j - 1 : 0] > s;
      const A square = moves ? squares[j - 1] : s;
      const int index = moves ? indices[j - 1] : i;
      __syncwarp();
      if (changes) squares[j] = square, indices[j] = index;
      __syncwarp();
      if (!__shfl_sync(ALL, int(moves), 0)) break;  // the place is in these
    }
  }
  __device__ void put(int place, int i) {
    if (lane == 0) indices[place] = i;
    __syncwarp();
  }
  __device__ int at(int place) const { return place < k ? indices[place] : 0; }
};

template <class A> __device__ inline A square_of(const A* point, A x, A y, A z) {
  const A dx = point[0] - x, dy = point[1] - y, dz = point[2] - z;
  return dx * dx + dy * dy + dz * dz;
}

// out: (clouds, k, count). squares and indices: room for long lists, k for each warp of the grid.
template <class T, template <class> class List>
__device__ inline void search(int64_t clouds, int64_t count, int points, int k, const T* centers, const T* source, acc_t<T>* squares, int* indices, int* out) {
  using A = acc_t<T>;
  __shared__ A tile[BLOCK * 3];
  __shared__ int staged[WARP][WARPS + 1];
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const int64_t begin = int64_t(blockIdx.x) * WARPS, row = min(begin + warp, count - 1);
  const int64_t room = ((int64_t(blockIdx.y) * gridDim.x + blockIdx.x) * WARPS + warp) * k;
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    const T* const center = centers + (cloud * count + row) * 3;
    const T* const own = source + cloud * points * 3;
    const A x = A(center[0]), y = A(center[1]), z = A(center[2]);
    List<A> list(squares + room, indices + room, lane, k);
    for (int start = 0; start < points; start += BLOCK) {
      const int size = min(BLOCK, points - start);
      for (int e = threadIdx.x; e < size * 3; e += BLOCK) tile[e] = A(own[int64_t(start) * 3 + e]);
      __syncthreads();
      for (int p = 0; p < size; p += WARP) {
        const A square = p + lane < size ? square_of(tile + 3 * (p + lane), x, y, z) : A(INFINITY);
        for (unsigned hits = __ballot_sync(ALL, square < list.farthest()); hits; hits &= hits - 1) {
          const int hit = __ffs(int(hits)) - 1;
          const A s = __shfl_sync(ALL, square, hit);
          if (s < list.farthest()) list.add(s, start + p + hit);
        }
      }
      __syncthreads();  // before the next tile takes this one's place
    }
    int filled = list.filled();
    for (int p = 0; p < points && filled < k; p += WARP) {  // the others are infinitely far: by index
      A point[3] = {};
      for (int c = 0; c < 3 && p + lane < points; ++c) point[c] = A(own[int64_t(p + lane) * 3 + c]);
      for (unsigned hits = __ballot_sync(ALL, p + lane < points && !(square_of(point, x, y, z) < A(INFINITY))); hits && filled < k; hits &= hits - 1)
        list.put(filled++, p + __ffs(int(hits)) - 1);
    }
    for (int start = 0; start < k; start += WARP) {  // neighbouring threads write neighbouring centres
      staged[lane][warp] = max(list.at(start + lane), 0);  // where there are fewer points
      __syncthreads();
      const int place = threadIdx.x / WARPS;
      const int64_t its = begin + threadIdx.x % WARPS;
      if (start + place < k && its < count) out[(cloud * k + start + place) * count + its] = staged[place][threadIdx.x % WARPS];
      __syncthreads();
    }
  }
}

template <class T>
__global__ void __launch_bounds__(BLOCK) search_short(int64_t clouds, int64_t count, int points, int k, const T* centers, const T* source, int* out) {
  search<T, ShortList>(clouds, count, points, k, centers, source, nullptr, nullptr, out);
}

template <class T>
__global__ void __launch_bounds__(BLOCK) search_long(int64_t clouds, int64_t count, int points, int k, const T* centers, const T* source, acc_t<T>* squares, int* indices, int* out) {
  search<T, LongList>(clouds, count, points, k, centers, source, squares, indices, out);
}
