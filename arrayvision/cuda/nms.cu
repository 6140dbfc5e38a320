// Non-maximum suppression of axis-aligned boxes, with suppress.cuh.
#include "prelude.cuh"
#include "axis_aligned.cuh"
#include "suppress.cuh"

// Most boxes don't touch, and of those that do few are near the threshold: only these take the division that decides. The
// threshold is at least 0.
template <class A>
__device__ inline bool above(const AxisAligned<A>& p, const AxisAligned<A>& q, const AxisAligned<A>&, const AxisAligned<A>&, A threshold, A offset) {
  const A inter = p.shared_with(q, offset);
  if (!(inter > 0)) return false;
  const A whole = p.area + q.area - inter, limit = threshold * whole;
  if (limit > A(1e-30)) {  // so the products are rounded by a few parts in ten million
    if (inter < A(0.9999) * limit) return false;
    if (inter > A(1.0001) * limit) return true;
  }
  return inter / whole > threshold;
}

// out[k] = values[at[k]]
__global__ void __launch_bounds__(256) compose(int64_t n, const int64_t* values, const int64_t* at, int64_t* out) {
  for (int64_t k = first(); k < n; k += stride()) out[k] = values[at[k]];
}

// dets[k] = the box keep[k] and its score; inds[k] = keep[k].
template <class T>
__global__ void __launch_bounds__(256) take_rows(int64_t n, int width, const T* boxes, const T* scores, const int64_t* keep, T* dets, int64_t* inds) {
  for (int64_t e = first(); e < n * (width + 1); e += stride()) {
    const int64_t k = e / (width + 1), i = keep[k];
    const int c = int(e % (width + 1));
    dets[e] = c < width ? boxes[i * width + c] : scores[i];
    if (c == 0) inds[k] = i;
  }
}

// The same of the first *count of keep, whose n are room, without indices.
template <class T>
__global__ void __launch_bounds__(256) take_counted(int64_t n, int width, const T* boxes, const T* scores, const int64_t* keep, const int64_t* count, T* dets) {
  const int64_t kept = *count < n ? *count : n;
  for (int64_t e = first(); e < kept * (width + 1); e += stride()) {
    const int64_t k = e / (width + 1), i = keep[k];
    const int c = int(e % (width + 1));
    dets[e] = c < width ? boxes[i * width + c] : scores[i];
  }
}

// For the k-th box by score, the rank of the kept box that it belongs to (its own, if kept), n if left out; and counts.
__global__ void __launch_bounds__(256) belong(int64_t n, const int* owner, int64_t* rank, int* counts) {
  for (int64_t k = first(); k < n; k += stride()) {
    if (owner[k] == suppress::LEFT_OUT) {
      rank[k] = n;
      continue;
    }
    const int64_t r = owner[k] != suppress::ALIVE ? owner[k] : k;
    rank[k] = r;
    atomicAdd(counts + r, 1);
  }
}
