// Filters in several orientations: a thread a number, read through a table of where each place's number comes from.
#include "loops.cuh"

// Where the number of each rotation's place comes from (R, E): the last of those that go there, -1 for none.
__global__ void __launch_bounds__(256) find_sources(int entries, int rotations, const int* places, int* sources) {
  for (int64_t k = first(); k < int64_t(entries) * rotations; k += stride()) {
    const int r = int(k / entries), place = int(k - int64_t(r) * entries) + 1;
    int e = entries - 1;
    while (e >= 0 && places[int64_t(e) * rotations + r] != place) --e;
    sources[k] = e;
  }
}

template <class T, class Index>
__global__ void __launch_bounds__(256) rotate(Index n, uint64_t by_entries, uint64_t by_inputs, uint64_t by_rotations, const T* x, const int* sources, T* out) {
  const Index k = loops::thread<Index>();
  if (k >= n) return;
  const loops::FastDivider<Index> entries(by_entries), inputs(by_inputs), rotations(by_rotations);
  Index o = k;
  const Index place = loops::split(o, entries), i = loops::split(o, inputs), r = loops::split(o, rotations);
  const int source = sources[r * entries.divisor + place];
  out[k] = source >= 0 ? x[(int64_t(o) * inputs.divisor + i) * entries.divisor + source] : T(acc_t<T>(0));
}

template <class T, class Index>
__global__ void __launch_bounds__(256) rotate_back(Index n, uint64_t by_entries, uint64_t by_inputs, int rotations, const T* grad, const int* places, const int* sources, T* out) {
  const Index k = loops::thread<Index>();
  if (k >= n) return;
  const loops::FastDivider<Index> entries(by_entries), inputs(by_inputs);
  Index o = k;
  const Index e = loops::split(o, entries), i = loops::split(o, inputs);
  acc_t<T> sum = 0;
  for (int r = 0; r < rotations; ++r) {
    const int64_t place = int64_t(places[int64_t(e) * rotations + r]) - 1;
    if (place >= 0 && place < int64_t(entries.divisor) && sources[r * int64_t(entries.divisor) + place] == int(e))
      sum += acc_t<T>(grad[((int64_t(o) * rotations + r) * inputs.divisor + i) * entries.divisor + place]);
  }
  out[k] = T(sum);
}
