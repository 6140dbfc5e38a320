// The first points by index within balls: a warp a centre, which looks at points in tiles in shared memory, 128 at a time, until
// it has found enough; its block until all its warps have.
#include "stacked.cuh"

constexpr int BLOCK = 256;  // threads
constexpr int TILE = 512;  // points
constexpr int STEPS = 4;  // of 32 points, between which a warp doesn't look back
constexpr int WARPS = 8;  // of a block, and its centres
constexpr unsigned ALL = 0xffffffffu;

// squares: of the distances, 0 or from least on and below most. out: (centres, size); a centre that finds none begins with
// missing. `all` and `all_centers` are the rows of clouds of equal sizes together, or of those with counts.
template <class T>
__global__ void __launch_bounds__(BLOCK) find(int64_t clouds, int64_t all, int64_t all_centers, bool counted, const int64_t* counts, const int64_t* center_counts, int size, int missing, acc_t<T> least, acc_t<T> most, const T* points, const T* centers, int* out) {
  using A = acc_t<T>;
  __shared__ A tile[TILE * 3];
  __shared__ int searching;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    const stacked::Rows own = stacked::rows(cloud, clouds, all, counted, counts);
    const stacked::Rows its = stacked::rows(cloud, clouds, all_centers, counted, center_counts);
    if (int64_t(blockIdx.x) * WARPS >= its.size) continue;
    const int64_t row = int64_t(blockIdx.x) * WARPS + warp;
    const bool mine = row < its.size;
    const T* const center = centers + (its.start + (mine ? row : 0)) * 3;
    const A x = A(center[0]), y = A(center[1]), z = A(center[2]);
    int* const target = out + (its.start + (mine ? row : 0)) * size;
    int found = mine ? 0 : size, first_found = 0;
    for (int64_t start = 0; start < own.size; start += TILE) {
      const int some = int(min(own.size - start, int64_t(TILE)));
      for (int e = threadIdx.x; e < some * 3; e += BLOCK) tile[e] = A(points[(own.start + start) * 3 + e]);
      if (threadIdx.x == 0) searching = 0;
      __syncthreads();
      for (int p = 0; p < some && found < size; p += STEPS * WARP) {
        unsigned hits[STEPS], any = 0;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
          const int i = p + step * WARP + lane;
          bool hit = false;
          if (i < some) {
            const A dx = tile[3 * i] - x, dy = tile[3 * i + 1] - y, dz = tile[3 * i + 2] - z;
            const A square = dx * dx + dy * dy + dz * dz;
            hit = square == 0 || (square >= least && square < most);
          }
          hits[step] = __ballot_sync(ALL, hit);
          any |= hits[step];
        }
        if (!any) continue;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
          const int before = int(start) + p + step * WARP;
          if (found == 0 && hits[step]) first_found = before + __ffs(int(hits[step])) - 1;
          const int place = found + __popc(hits[step] & ((1u << lane) - 1));
          if ((hits[step] >> lane & 1) && place < size) target[place] = before + lane;
          found = min(found + __popc(hits[step]), size);
        }
      }
      if (lane == 0 && found < size) atomicAdd(&searching, 1);
      __syncthreads();
      const bool done = searching == 0;
      __syncthreads();  // before the next tile takes this one's place
      if (done) break;
    }
    for (int k = found + lane; k < size; k += WARP) target[k] = found == 0 && k == 0 ? missing : first_found;
  }
}
