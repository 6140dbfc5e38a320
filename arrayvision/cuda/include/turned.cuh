// Matrices turned: how maps whose channels lie first become maps whose channels lie last, and back.
#pragma once
#include "prelude.cuh"

namespace turned {

constexpr int SIDE = 64;  // of a tile

}  // namespace turned

// out (count, columns, rows) = x (count, rows, columns). A block has a tile, of which `across` lie beside one another, and turns it
// in shared memory: both loads and stores are of neighbours.
template <class T> __global__ void __launch_bounds__(256) turn(int64_t count, int64_t rows, int64_t columns, int64_t across, const T* x, T* out) {
  using turned::SIDE;
  constexpr int WIDTH = SIDE + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);  // so that a column's numbers lie in different banks
  __shared__ __align__(8) unsigned char memory[SIDE * WIDTH * sizeof(T)];
  T* const tile = reinterpret_cast<T*>(memory);
  const int64_t left = blockIdx.x % across * SIDE, top = blockIdx.x / across * SIDE;
  const int column = threadIdx.x % SIDE, row = threadIdx.x / SIDE;
  constexpr int STEP = 256 / SIDE;
  // How many of a tile's rows are the thread's to load, and of its columns to store, in steps.
  const int loads = left + column < columns ? int(min(rows - top - row, int64_t(SIDE))) : 0;
  const int stores = top + column < rows ? int(min(columns - left - row, int64_t(SIDE))) : 0;
  for (int64_t k = blockIdx.y; k < count; k += gridDim.y) {
    const T* source = x + k * rows * columns + (top + row) * columns + left + column;
#pragma unroll
    for (int r = 0; r < SIDE; r += STEP, source += STEP * columns)
      if (r < loads) tile[(r + row) * WIDTH + column] = *source;
    __syncthreads();
    T* target = out + k * rows * columns + (left + row) * rows + top + column;
#pragma unroll
    for (int c = 0; c < SIDE; c += STEP, target += STEP * rows)
      if (c < stores) *target = tile[column * WIDTH + c + row];
    __syncthreads();  // before the next matrix takes the tile
  }
}
