// Upsampling, filtering and downsampling of planes: a thread some rows' outputs of a column, whose neighbours are its neighbours.
#include "fir.cuh"

constexpr int ROWS = 4;  // of a thread

template <class From, class To, class Index>
__global__ void __launch_bounds__(256) filter_planes(Index n, uint64_t by_columns, uint64_t by_bands, int most, const From* x, int height, int width, const acc_t<To>* weights, bool flip, acc_t<To> gain, int up_y, int down_y, int before_y, int taps_y, int up_x, int down_x, int before_x, int taps_x, To* out) {
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
