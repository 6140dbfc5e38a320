// Upsampling, filtering and downsampling of planes: a thread an output, whose neighbours are its neighbours in a row.
#include "fir.cuh"

template <class From, class To, class Index>
__global__ void __launch_bounds__(256) filter_planes(Index n, uint64_t by_columns, uint64_t by_rows, const From* x, int height, int width, const acc_t<To>* weights, bool flip, acc_t<To> gain, int up_y, int down_y, int before_y, int taps_y, int up_x, int down_x, int before_x, int taps_x, To* out) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  Index plane = e;
  const int column = int(loops::split(plane, loops::FastDivider<Index>(by_columns)));
  const int row = int(loops::split(plane, loops::FastDivider<Index>(by_rows)));
  const fir::Axis rows{up_y, down_y, before_y, taps_y, height}, columns{up_x, down_x, before_x, taps_x, width};
  using A = acc_t<To>;
  out[e] = To(gain * fir::sum(x + int64_t(plane) * height * width, rows, columns, row, column, weights, flip, [](From v) { return A(v); }));
}
