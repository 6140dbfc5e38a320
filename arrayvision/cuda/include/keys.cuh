// Runs of equal keys, which stand for rows of whole numbers (cpu/keys.py), after the caller's library has sorted them.
#pragma once
#include "prelude.cuh"

namespace keys {

// The bits of a number that isn't negative; below 64.
__device__ inline int width(int64_t number) {
  const int high = int(uint64_t(number) >> 32), low = int(number);
  return high ? 64 - __clz(high) : 32 - __clz(low);
}

// Where the run that holds position k ends.
template <class K> __device__ inline int64_t end_of_run(int64_t n, const K* sorted, int64_t k) {
  const K key = sorted[k];
  int64_t low = k, high = n, step = 1;  // sorted[low] is equal; what is at `high` is not
  while (low + step < n && sorted[low + step] == key) low += step, step *= 2;
  if (low + step < n) high = low + step;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (sorted[middle] == key) low = middle;
    else high = middle;
  }
  return high;
}

}  // namespace keys

// sorted[k] = keys[order[k]]
template <class K>
__global__ void __launch_bounds__(256) take_keys(int64_t n, const K* keys, const int64_t* order, K* sorted) {
  for (int64_t k = first(); k < n; k += stride()) sorted[k] = keys[order[k]];
}

// heads[k] = whether a run begins at k. Keys of `outside` are none.
template <class K>
__global__ void __launch_bounds__(256) mark_runs(int64_t n, int64_t outside, const K* sorted, int* heads) {
  for (int64_t k = first(); k < n; k += stride()) {
    const K key = sorted[k];
    heads[k] = int64_t(key) != outside && (k == 0 || sorted[k - 1] != key);
  }
}

// The same by row: heads[i] = whether row i is the first of its run, begins[i] where that begins.
template <class K>
__global__ void __launch_bounds__(256)
    mark_first_rows(int64_t n, int64_t outside, const K* sorted, const int64_t* order, int* heads, int* begins) {
  for (int64_t k = first(); k < n; k += stride()) {
    const K key = sorted[k];
    const int64_t i = order[k];
    heads[i] = int64_t(key) != outside && (k == 0 || sorted[k - 1] != key);
    begins[i] = int(k);
  }
}

// The runs that are kept, by rank: ranks are running sums of heads. begins is null where rows are in the sorted order.
template <class K>
__global__ void __launch_bounds__(256) list_runs(int64_t n, int64_t most, const K* sorted, const int* heads, const int64_t* ranks, const int* begins, bool by_row, int* starts, int* lengths) {
  for (int64_t i = first(); i < n; i += stride()) {
    const int64_t r = ranks[i] - 1;
    if (!heads[i] || r >= most) continue;
    const int64_t k = by_row ? begins[i] : i;
    starts[r] = int(k);
    lengths[r] = int(keys::end_of_run(n, sorted, k) - k);
  }
}

// largest[k] = the largest number of column k, of rows without a negative one; it begins as 0.
template <class I>
__global__ void __launch_bounds__(256) find_extents(int64_t n, int columns, const I* rows, int64_t* largest) {
  for (int k = 0; k < columns; ++k) {
    int64_t most = 0;
    for (int64_t i = first(); i < n; i += stride()) {
      bool inside = true;
      for (int c = 0; c < columns; ++c) inside = inside && rows[i * columns + c] >= 0;
      const int64_t value = int64_t(rows[i * columns + k]);
      if (inside && value > most) most = value;
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
      const int64_t other = __shfl_xor_sync(0xffffffffu, most, step);
      if (other > most) most = other;
    }
    if (threadIdx.x % WARP == 0 && most > 0) atomicMax(largest + k, most);
  }
}

// keys[i] = the numbers of rows[i] side by side, each in the bits of its column's largest, the last one lowest; `outside` for a
// row with a negative number. fits[0] = whether these are 62 bits at most.
template <class I>
__global__ void __launch_bounds__(256) pack_rows(int64_t n, int columns, int64_t outside, const I* rows, const int64_t* largest, int64_t* keys, int* fits) {
  if (first() == 0) {
    int total = 0;
    for (int k = 0; k < columns; ++k) total += keys::width(largest[k]);
    fits[0] = total <= 62;
  }
  for (int64_t i = first(); i < n; i += stride()) {
    uint64_t key = 0;
    bool inside = true;
    for (int k = 0; k < columns; ++k) {
      const int64_t value = int64_t(rows[i * columns + k]);
      inside = inside && value >= 0;
      key = (key << keys::width(largest[k])) | uint64_t(value);
    }
    keys[i] = inside ? int64_t(key) : outside;
  }
}

// owners[i] = the run that row i is in, of `count` runs that begin at rising positions; -1 for none.
__global__ void __launch_bounds__(256) find_owners(int64_t n, int64_t count, const int64_t* order, const int* starts, const int* lengths, int* owners) {
  for (int64_t k = first(); k < n; k += stride()) {
    int64_t low = -1, high = count;  // starts[low] <= k < starts[high]
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      if (starts[middle] <= k) low = middle;
      else high = middle;
    }
    owners[order[k]] = low >= 0 && k - starts[low] < lengths[low] ? int(low) : -1;
  }
}
