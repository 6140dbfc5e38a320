// Sparse convolution: keys of sites, pairs of them by searching sorted keys, and what gathers rows for matrix products and adds
// these up. Within a tap of the filter no output comes twice, so sums need no atomics.
#include "keys.cuh"
#include "loops.cuh"
#include "sums.cuh"

constexpr int SEGMENT = 1024;  // entries of the table of partners that a warp counts and lists
constexpr int SUMMED_ROWS = 1024;  // rows that a block adds up
constexpr int ACROSS = 32;  // columns of a block
constexpr int DOWN = 8;  // its threads for each

namespace sparse {

constexpr int64_t NOWHERE = 0x7fffffffffffffff;  // a key above all others

// Where a tap moves a coordinate; -1 for nowhere.
__device__ inline int64_t moved(int64_t place, int64_t tap, int64_t stride, int64_t padding, int64_t dilation, int64_t size, bool transposed) {
  if (transposed) {
    place = place * stride - padding + tap * dilation;
  } else {
    place += padding - tap * dilation;
    if (place < 0) return -1;
    if (stride > 1) {
      const int64_t quotient = place / stride;
      if (quotient * stride != place) return -1;
      place = quotient;
    }
  }
  return place >= 0 && place < size ? place : -1;
}

// The position of a key among sorted ones; -1 for none.
__device__ inline int find(int64_t n, const int64_t* sorted, int64_t key) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sorted[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low < n && sorted[low] == key ? int(low) : -1;
}

__device__ inline bool within(int64_t row, int64_t size) { return row >= 0 && row < size; }

}  // namespace sparse

// keys[i] = the fields of rows[i] at their places; wrong[0] += how many rows aren't within sizes. fields: sizes, then shifts.
template <class I>
__global__ void __launch_bounds__(256) pack_sites(int64_t n, int columns, const I* rows, const int64_t* fields, int64_t* keys, int* wrong) {
  for (int64_t i = first(); i < n; i += stride()) {
    uint64_t key = 0;
    bool inside = true;
    for (int a = 0; a < columns; ++a) {
      const int64_t value = int64_t(rows[i * columns + a]);
      inside = inside && sparse::within(value, fields[a]);
      key |= uint64_t(value) << fields[columns + a];
    }
    keys[i] = inside ? int64_t(key) : sparse::NOWHERE;
    if (!inside) atomicAdd(wrong, 1);
  }
}

// twice[0] += how many of the sorted keys are equal to the one before.
__global__ void __launch_bounds__(256) count_twice(int64_t n, const int64_t* sorted, int* twice) {
  for (int64_t i = first(); i < n; i += stride())
    if (i > 0 && sorted[i] == sorted[i - 1] && sorted[i] != sparse::NOWHERE) atomicAdd(twice, 1);
}

template <class I>
__global__ void __launch_bounds__(256) unpack_sites(int64_t n, int columns, const int64_t* keys, const int64_t* fields, I* out) {
  for (int64_t i = first(); i < n; i += stride()) {
    int64_t key = keys[i];
    for (int a = 0; a < columns; ++a) {
      const int64_t value = key >> fields[columns + a];
      key -= value << fields[columns + a];
      out[i * columns + a] = I(value);
    }
  }
}

// out[t * n + i] = the key of the site to which tap t of one axis moves site i: blocks of sites, and taps.
__global__ void __launch_bounds__(256) move_along(int64_t n, int64_t shift, int64_t mask, int64_t by, int64_t padding, int64_t dilation, int64_t size, bool transposed, const int64_t* keys, int64_t* out) {
  for (int64_t i = first(); i < n; i += stride()) {
    const int64_t key = keys[i], place = (key >> shift) & mask;
    const int64_t to = sparse::moved(place, blockIdx.y, by, padding, dilation, size, transposed);
    out[blockIdx.y * n + i] = to < 0 ? sparse::NOWHERE : key + (to - place) * (int64_t(1) << shift);
  }
}

// out[r] = the key of run r.
__global__ void __launch_bounds__(256) take_heads(int64_t n, const int64_t* keys, const int64_t* order, const int* starts, int64_t* out) {
  for (int64_t r = first(); r < n; r += stride()) out[r] = keys[order[starts[r]]];
}

// table[k * n + i] = the output to which tap k moves input i, -1 for none: blocks of inputs, and taps. how: shift, mask, taps,
// stride, padding, dilation and size for each axis.
__global__ void __launch_bounds__(256) match_moved(int64_t n, int axes, int64_t outputs, bool transposed, const int64_t* how, const int64_t* keys, const int64_t* outs, int* table) {
  for (int64_t i = first(); i < n; i += stride()) {
    int64_t key = keys[i];
    int k = blockIdx.y;
    bool found = true;
    for (int a = axes - 1; a >= 0; --a) {
      const int64_t* own = how + 7 * a;
      const int taps = int(own[2]), tap = k % taps;
      const int64_t place = (key >> own[0]) & own[1];
      const int64_t to = sparse::moved(place, tap, own[3], own[4], own[5], own[6], transposed);
      k /= taps;
      found = found && to >= 0;
      if (found) key += (to - place) * (int64_t(1) << own[0]);
    }
    table[blockIdx.y * n + i] = found ? sparse::find(outputs, outs, key) : -1;
  }
}

// table[k * n + order[i]] = the input at tap k's distance from input order[i], -1 for none: blocks of inputs, and taps.
__global__ void __launch_bounds__(256) match_neighbours(int64_t n, const int64_t* deltas, const int64_t* keys, const int64_t* order, int* table) {
  const int64_t delta = deltas[blockIdx.y];
  for (int64_t i = first(); i < n; i += stride()) {
    const int at = sparse::find(n, keys, keys[i] + delta);
    table[blockIdx.y * n + order[i]] = at < 0 ? -1 : int(order[at]);
  }
}

// counts[k * segments + s] = how many partners are in segment s of row k: a warp a segment.
__global__ void __launch_bounds__(256) count_found(int64_t n, int64_t taps, int64_t segments, const int* table, int* counts) {
  const int lane = threadIdx.x % WARP;
  for (int64_t w = first() / WARP; w < taps * segments; w += stride() / WARP) {
    const int64_t begin = w % segments * SEGMENT;
    const int* row = table + w / segments * n;
    int count = 0;
    for (int step = 0; step < SEGMENT; step += WARP) {
      const int64_t i = begin + step + lane;
      count += __popc(__ballot_sync(0xffffffffu, i < n && row[i < n ? i : 0] >= 0));
    }
    if (lane == 0) counts[w] = count;
  }
}

// The pairs in the table's order: given is a column's row (itself where `own`), found the partner. sums are running sums of counts.
__global__ void __launch_bounds__(256) list_found(int64_t n, int64_t taps, int64_t segments, bool own, const int* table, const int64_t* order, const int* counts, const int64_t* sums, int* given, int* found) {
  const int lane = threadIdx.x % WARP;
  for (int64_t w = first() / WARP; w < taps * segments; w += stride() / WARP) {
    const int64_t begin = w % segments * SEGMENT;
    const int* row = table + w / segments * n;
    int64_t at = sums[w] - counts[w];
    for (int step = 0; step < SEGMENT; step += WARP) {
      const int64_t i = begin + step + lane;
      const int partner = i < n ? row[i] : -1;
      const unsigned those = __ballot_sync(0xffffffffu, partner >= 0);
      if (partner >= 0) {
        const int64_t place = at + __popc(those & ~(0xffffffffu << lane));
        given[place] = int(own ? i : order[i]);
        found[place] = partner;
      }
      at += __popc(those);
    }
  }
}

// out[p] = x[rows[p]], zeros for a row that x hasn't.
template <class T, class Index>
__global__ void __launch_bounds__(256) gather_rows(Index n, uint64_t by_channels, int64_t size, const T* x, const int* rows, T* out) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> channels(by_channels);
  Index p = e;
  const Index c = loops::split(p, channels);
  const int64_t row = rows[p];
  out[e] = sparse::within(row, size) ? x[row * int64_t(channels.divisor) + c] : T(acc_t<T>(0));
}

// sums[rows[p]] += x[p]; no row comes twice.
template <class T, class Index>
__global__ void __launch_bounds__(256) add_rows(Index n, uint64_t by_channels, int64_t size, const T* x, const int* rows, acc_t<T>* sums) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> channels(by_channels);
  Index p = e;
  const Index c = loops::split(p, channels);
  const int64_t row = rows[p];
  if (sparse::within(row, size)) sums[row * int64_t(channels.divisor) + c] += acc_t<T>(x[e]);
}

template <class T, class Index>
__global__ void __launch_bounds__(256) add_bias(Index n, uint64_t by_channels, const T* bias, acc_t<T>* sums) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  Index row = e;
  sums[e] += acc_t<T>(bias[loops::split(row, loops::FastDivider<Index>(by_channels))]);
}

// sums[e] += part[e]
template <class T>
__global__ void __launch_bounds__(256) add_part(int64_t n, const T* part, acc_t<T>* sums) {
  for (int64_t e = first(); e < n; e += stride()) sums[e] += acc_t<T>(part[e]);
}

// out[s * columns + c] = the sum of column c over SUMMED_ROWS rows of x from row s * SUMMED_ROWS on: blocks (of ACROSS columns, s).
template <class T>
__global__ void __launch_bounds__(256) sum_columns(int64_t rows, int64_t columns, const T* x, acc_t<T>* out) {
  __shared__ acc_t<T> parts[DOWN][ACROSS];
  const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
  const int64_t c = int64_t(blockIdx.x) * ACROSS + across, begin = int64_t(blockIdx.y) * SUMMED_ROWS;
  acc_t<T> total = 0;
  if (c < columns)
    for (int64_t i = begin + down; i < begin + SUMMED_ROWS && i < rows; i += DOWN) total += acc_t<T>(x[i * columns + c]);
  parts[down][across] = total;
  __syncthreads();
  if (down || c >= columns) return;
  for (int d = 1; d < DOWN; ++d) total += parts[d][across];
  out[blockIdx.y * columns + c] = total;
}

// argmax begins as -1
__global__ void __launch_bounds__(256) choose_none(int64_t n, int* argmax) {
  for (int64_t e = first(); e < n; e += stride()) argmax[e] = -1;
}

// The larger of out[outputs[p]] and x[inputs[p]]; no output comes twice.
template <class T, class Index>
__global__ void __launch_bounds__(256) choose(Index n, uint64_t by_channels, int64_t size, int64_t outs, const T* x, const int* inputs, const int* outputs, T* out, int* argmax) {
  using A = acc_t<T>;
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> channels(by_channels);
  Index p = e;
  const Index c = loops::split(p, channels);
  const int64_t input = inputs[p], output = outputs[p];
  if (!sparse::within(input, size) || !sparse::within(output, outs)) return;
  const int64_t at = output * int64_t(channels.divisor) + c;
  const T given = x[input * int64_t(channels.divisor) + c];
  const A value = A(given), old = A(out[at]);
  if (argmax[at] < 0 || value > old || (value != value && old == old)) out[at] = given, argmax[at] = int(input);  // a NaN is above all
}

// sums[inputs[p]] += grad[outputs[p]] where the input was chosen; no input comes twice.
template <class T, class Index>
__global__ void __launch_bounds__(256) spread(Index n, uint64_t by_channels, int64_t size, int64_t outs, const T* grad, const int* argmax, const int* inputs, const int* outputs, acc_t<T>* sums) {
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  const loops::FastDivider<Index> channels(by_channels);
  Index p = e;
  const Index c = loops::split(p, channels);
  const int64_t input = inputs[p], output = outputs[p];
  if (!sparse::within(input, size) || !sparse::within(output, outs)) return;
  const int64_t at = output * int64_t(channels.divisor) + c;
  if (argmax[at] == input) sums[input * int64_t(channels.divisor) + c] += acc_t<T>(grad[at]);
}
