// The nearest points of a point, by comparing it with all: a thread a query, or some lanes of a warp, where queries are few; points
// in tiles in shared memory.
//
// Everything is in the order that a plain loop has: of equal distances the lower index is nearer, and a distance that is NaN
// counts as infinite.
#pragma once
#include "prelude.cuh"

namespace nearest {

// The K least squares of distances and whose they are.
template <class A, int K> struct Best {
  A square[K];
  int index[K];

  __device__ Best() {
    for (int k = 0; k < K; ++k) square[k] = INFINITY, index[k] = -1;
  }

  __device__ void add(A s, int i) {
    if (!(s < square[K - 1])) return;
#pragma unroll
    for (int k = K - 1; k >= 0; --k) {
      const bool before = k > 0 && s < square[k > 0 ? k - 1 : 0];  // it goes further up
      if (before) square[k] = square[k > 0 ? k - 1 : 0], index[k] = index[k > 0 ? k - 1 : 0];
      else if (s < square[k]) square[k] = s, index[k] = i;
    }
  }

  // Of `lanes` neighbouring threads, a power of two up to a warp, each of which has seen other points; in all of them.
  __device__ void of_lanes(int lanes) {
    for (int step = lanes / 2; step; step /= 2) {
      A squares[K];
      int indices[K];
#pragma unroll
      for (int k = 0; k < K; ++k) {
        squares[k] = __shfl_xor_sync(0xffffffffu, square[k], step);
        indices[k] = __shfl_xor_sync(0xffffffffu, index[k], step);
      }
#pragma unroll
      for (int j = 0; j < K; ++j) {
#pragma unroll
        for (int k = K - 1; k >= 0; --k) {
          const bool before = k > 0 && nearer(squares[j], indices[j], k > 0 ? k - 1 : 0);
          if (before) square[k] = square[k > 0 ? k - 1 : 0], index[k] = index[k > 0 ? k - 1 : 0];
          else if (nearer(squares[j], indices[j], k)) square[k] = squares[j], index[k] = indices[j];
        }
      }
    }
  }
  __device__ bool nearer(A s, int i, int k) const { return s < square[k] || (s == square[k] && unsigned(i) < unsigned(index[k])); }

  // Gives places that are left to the points at an infinite distance, by index; 0 where there is none.
  __device__ void fill(int points) {
    int next = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (index[k] >= 0) continue;
      bool taken = true;
      while (taken) {
        taken = false;
#pragma unroll
        for (int j = 0; j < K; ++j)
          if (index[j] == next && square[j] < A(INFINITY)) taken = true;
        next += taken;
      }
      index[k] = next < points ? next : 0;
      ++next;
    }
  }
};

// Compares a query of D coordinates with points (points, D), for which it has `lanes` neighbouring threads. All BLOCK threads of the
// block come here; tile is in shared memory.
template <int BLOCK, int D, class T, class A, int K>
__device__ void scan(const A (&query)[D], const T* source, int points, int lanes, A (&tile)[BLOCK * D], Best<A, K>& best) {
  const int lane = threadIdx.x % unsigned(lanes);
  for (int start = 0; start < points; start += BLOCK) {
    const int size = min(BLOCK, points - start);
    for (int e = threadIdx.x; e < size * D; e += BLOCK) tile[e] = A(source[int64_t(start) * D + e]);
    __syncthreads();
#pragma unroll 4
    for (int p = lane; p < size; p += lanes) {
      A square = 0;
#pragma unroll
      for (int c = 0; c < D; ++c) {
        const A d = tile[p * D + c] - query[c];
        square += d * d;
      }
      best.add(square, start + p);
    }
    __syncthreads();  // before the next tile takes this one's place
  }
  best.of_lanes(lanes);
}

}  // namespace nearest
