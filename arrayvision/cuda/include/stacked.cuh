// Clouds of different sizes that lie behind one another in one array.
#pragma once
#include "prelude.cuh"

namespace stacked {

struct Rows {
  int64_t start, size;
};

// A cloud's rows: of `all` those that counts say, never more than there are; or an equal share.
__device__ inline Rows rows(int64_t cloud, int64_t clouds, int64_t all, bool counted, const int64_t* counts) {
  if (!counted) return {all / clouds * cloud, all / clouds};
  int64_t start = 0;
  for (int64_t b = 0; b < cloud; ++b) start += max(min(counts[b], all - start), int64_t(0));
  return {start, max(min(counts[cloud], all - start), int64_t(0))};
}

// The cloud in which a row lies, `clouds` if in none.
__device__ inline int64_t cloud_of(int64_t row, int64_t clouds, int64_t all, const int64_t* counts, Rows& rows) {
  rows.start = 0;
  for (int64_t b = 0; b < clouds; ++b) {
    rows.size = max(min(counts[b], all - rows.start), int64_t(0));
    if (row < rows.start + rows.size) return b;
    rows.start += rows.size;
  }
  return clouds;
}

}  // namespace stacked
