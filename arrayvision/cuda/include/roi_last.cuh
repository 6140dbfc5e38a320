// What kernels share that pool maps whose channels lie last: a block has a region and CHANNELS of its channels, and neighbouring
// threads have neighbouring channels of a bin. Results are turned in shared memory, so that they are written bin by bin.
#pragma once
#include "channels.cuh"
#include "loops.cuh"

namespace roi_last {

constexpr int CHANNELS = 64;  // of a block
constexpr int BLOCK = 256;

// The threads of a block, each with V channels of some bins: `lane` says which channels, `group` which bins (every GROUPS-th).
template <int V> struct Lanes {
  static constexpr int COUNT = CHANNELS / V, GROUPS = BLOCK / COUNT;
  const int lane, group;
  __device__ Lanes() : lane(threadIdx.x % COUNT), group(threadIdx.x / COUNT) {}
};

// BINS bins of a region at a time: each(i, j, b) computes a thread's channels of bin (i, j), the b-th of a tile, and write(start,
// here) takes the tile's `here` bins away, of which the first is `start`. All threads of the block come here.
template <int BINS, int V, class Each, class Write>
__device__ __forceinline__ void by_tiles(const Lanes<V>& own, int some, int bins, uint64_t by_columns, Each&& each, Write&& write) {
  const loops::FastDivider<uint32_t> columns(by_columns);
  for (int start = 0; start < bins; start += BINS) {
    const int here = min(BINS, bins - start);
    for (int b = own.group; b < here && own.lane * V < some; b += own.GROUPS) {
      uint32_t i = uint32_t(start + b);
      const uint32_t j = loops::split(i, columns);
      each(i, j, b);
    }
    __syncthreads();
    write(start, here);
    __syncthreads();  // before the next bins take the tile
  }
}

// The results of BINS bins, a row a channel, in shared memory.
template <class T, int BINS> struct Tile {
  static constexpr int WIDTH = BINS + 1;  // so that a bin's channels lie in different banks
  static constexpr int BYTES = CHANNELS * WIDTH * int(sizeof(T));
  T* const memory;
  __device__ explicit Tile(unsigned char* memory) : memory(reinterpret_cast<T*>(memory)) {}
  __device__ T& operator()(int channel, int bin) const { return memory[channel * WIDTH + bin]; }
  // Those of `here` bins of `some` channels, to where the first of them belongs among `bins` a channel.
  __device__ void write(int some, int here, int bins, T* result) const {
#pragma unroll 1  // unrolled, it takes registers that samples need
    for (int c = threadIdx.x / WARP; c < some; c += BLOCK / WARP)
      for (int b = threadIdx.x % WARP; b < here; b += WARP) result[int64_t(c) * bins + b] = memory[c * WIDTH + b];
  }
};

}  // namespace roi_last
