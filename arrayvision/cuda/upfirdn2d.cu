// Upsampling, filtering and downsampling of planes.
#include "fir.cuh"

constexpr int ROWS = 4;  // of a thread

// By any filter: a thread some rows' outputs of a column, whose neighbours are its neighbours.
template <class From, class To, class Index>
__global__ void __launch_bounds__(256, 6) filter_planes(Index n, uint64_t by_columns, uint64_t by_bands, int most, const From* x, int height, int width, const acc_t<To>* weights, bool flip, acc_t<To> gain, int up_y, int down_y, int before_y, int taps_y, int up_x, int down_x, int before_x, int taps_x, To* out) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  Index plane = e;
  const int column = int(loops::split(plane, loops::FastDivider<Index>(by_columns)));
  const int band = int(loops::split(plane, loops::FastDivider<Index>(by_bands))) * ROWS;
  const fir::Axis rows{up_y, down_y, before_y, taps_y, height}, columns{up_x, down_x, before_x, taps_x, width};
  using A = acc_t<To>;
  const fir::Run along = fir::run(columns, column);
  const From* const source = x + int64_t(plane) * height * width;
  const Index step = loops::FastDivider<Index>(by_columns).divisor;
  To* target = out + (int64_t(plane) * most + band) * step + column;
#pragma unroll 1
  for (int k = 0; k < ROWS; ++k, target += step)
    if (band + k < most)
      *target = To(gain * fir::sum(source, rows, columns, fir::run(rows, band + k), along, weights, flip, [](From v) { return A(v); }));
}

constexpr int WIDE = 64;    // columns of a block's tile
constexpr int BLOCK = 256;  // threads

// By one filter down columns and then along rows. A block has a tile of `high` x WIDE outputs of a plane: it takes the inputs, `some` x
// `wide` of them, into shared memory, filters their columns there, and then rows. `across` tiles lie beside one another.
template <class T>
__global__ void __launch_bounds__(BLOCK) filter_twice(int64_t planes, int across, int high, int some, int wide, const T* x, int height, int width, int taps, const acc_t<T>* weights, bool flip, acc_t<T> gain, int up_y, int down_y, int before_y, int up_x, int down_x, int before_x, int rows, int columns, T* out) {
  using A = acc_t<T>;
  DYNAMIC_SHARED(A, memory);
  A *const given = memory, *const filtered = given + some * wide, *const taken = filtered + high * wide;
  const fir::Axis down{up_y, down_y, before_y, taps, height}, along{up_x, down_x, before_x, taps, width};
  const int top = int(blockIdx.x) / across * high, left = int(blockIdx.x) % across * WIDE;
  const int y = fir::run(down, top).input, first_x = fir::run(along, left).input;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, here = min(high, rows - top);
#pragma unroll 1
  for (int k = threadIdx.x; k < taps; k += BLOCK) taken[k] = weights[flip ? k : taps - 1 - k];
  const int column = left + threadIdx.x % WIDE;
  const fir::Run its = fir::run(along, column);
  for (int64_t plane = blockIdx.y; plane < planes; plane += gridDim.y) {
    const T* const source = x + (plane * height + y) * width + first_x;
#pragma unroll 1  // rows are short: unrolled as far as the compiler would, loops are mostly remainders
    for (int i = warp; i < some; i += BLOCK / WARP)
#pragma unroll 2
      for (int j = lane; j < wide; j += WARP) given[i * wide + j] = y + i < height && first_x + j < width ? A(source[int64_t(i) * width + j]) : A(0);
    __syncthreads();
#pragma unroll 1
    for (int i = warp; i < here; i += BLOCK / WARP) {
      const fir::Run run = fir::run(down, top + i);
#pragma unroll 1
      for (int j = lane; j < wide; j += WARP) {
        A sum = 0;
#pragma unroll 2
        for (int k = 0; k < run.count; ++k) sum = fma(taken[run.tap + k * up_y], given[(run.input - y + k) * wide + j], sum);
        filtered[i * wide + j] = gain * sum;
      }
    }
    __syncthreads();
    if (column < columns) {
      T* target = out + (plane * rows + top) * columns + column;
#pragma unroll 1
      for (int i = threadIdx.x / WIDE; i < here; i += BLOCK / WIDE) {
        A sum = 0;
#pragma unroll 2
        for (int k = 0; k < its.count; ++k) sum = fma(taken[its.tap + k * up_x], filtered[i * wide + its.input - first_x + k], sum);
        target[int64_t(i) * columns] = T(sum);
      }
    }
    __syncthreads();  // before the next plane takes their place
  }
}
