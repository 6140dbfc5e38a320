// Leaky ReLUs between two filters: filters whose inputs have a bias added, or whose results are bent; a thread an output.
#include "fir.cuh"

enum Then { NOTHING, BEND, SLOPE };  // what becomes of a sum: as cuda/filtered_lrelu.py numbers them

// `start`: the first plane's number among all; planes have biases in turn. SLOPE multiplies by the slope at `t`.
template <class From, class To, class Index>
__global__ void __launch_bounds__(256) filter_bent(Index n, uint64_t by_columns, uint64_t by_rows, uint64_t by_channels, const From* x, int height, int width, Index start, bool biased, const acc_t<To>* bias, const acc_t<To>* weights, bool flip, acc_t<To> gain, int up_y, int down_y, int before_y, int taps_y, int up_x, int down_x, int before_x, int taps_x, int then, const acc_t<To>* t, acc_t<To> high, acc_t<To> low, acc_t<To> clamp, To* out) {
  using A = acc_t<To>;
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  Index plane = e;
  const int column = int(loops::split(plane, loops::FastDivider<Index>(by_columns)));
  const int row = int(loops::split(plane, loops::FastDivider<Index>(by_rows)));
  const fir::Axis rows{up_y, down_y, before_y, taps_y, height}, columns{up_x, down_x, before_x, taps_x, width};
  Index number = plane + start;
  const A b = biased ? bias[loops::split(number, loops::FastDivider<Index>(by_channels))] : A(0);
  A v = gain * fir::sum(x + int64_t(plane) * height * width, rows, columns, fir::run(rows, row), fir::run(columns, column), weights, flip, [b](From s) { return A(s) + b; });
  if (then == BEND) {
    v *= v > A(0) ? high : low;
    v = v > clamp ? clamp : v < -clamp ? -clamp : v;
  }
  if (then == SLOPE) {
    const A slope = t[e] > A(0) ? high : low, bent = t[e] * slope;
    v = bent > clamp || bent < -clamp ? A(0) : v * slope;
  }
  out[e] = To(v);
}
