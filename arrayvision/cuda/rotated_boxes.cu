// IoU and suppression of rotated boxes and quadrilaterals.
#include "polygons.cuh"
#include "suppress.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 16;  // of the first set, that a block holds in shared memory at a time, at most

namespace polygons {

// Whether the axis-aligned hulls of two shapes have nothing in common, as `overlap` asks first.
template <class S> __device__ inline bool apart(const S& p, const S& q) {
  return !(p.area > 0 && q.area > 0) || fabs(q.cx - p.cx) >= p.ex + q.ex || fabs(q.cy - p.cy) >= p.ey + q.ey;
}

// `single`: IoUs count as floats.
template <class S> __device__ inline bool above(const S& p, const S& q, double threshold, double single) {
  if (fmin(p.area, q.area) < 0.9999 * threshold * fmax(p.area, q.area)) return false;
  const double inter = overlap(p, q);
  if (!(inter > 0)) return false;
  const double iou = inter / (p.area + q.area - inter);
  return (single != 0 ? double(float(iou)) : iou) > threshold;
}

}  // namespace polygons

// Boxes are made shapes where they are read; `sense` is that of angles. A block has `strip` rows at a time. Most pairs lie apart:
// those that don't are listed, and threads take them from the list, so that none waits for a neighbour's pair.
template <class T, class S>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, int strip, const T* first_boxes, const T* second_boxes, double sense, bool foreground, T* out) {
  __shared__ __align__(8) unsigned char row_memory[ROWS * sizeof(S)], column_memory[BLOCK * sizeof(S)];
  __shared__ uint16_t list[ROWS * BLOCK];
  __shared__ int count;
  S* const row = reinterpret_cast<S*>(row_memory);
  S* const column = reinterpret_cast<S*>(column_memory);
  const int64_t left = int64_t(blockIdx.x) * BLOCK;
  const bool some = left + threadIdx.x < n;
  if (some) column[threadIdx.x].load(second_boxes + S::columns * (left + threadIdx.x), sense);
  for (int64_t top = int64_t(blockIdx.y) * strip; top < m; top += int64_t(gridDim.y) * strip) {
    const int rows = int(m - top < strip ? m - top : strip);
    if (threadIdx.x < rows) row[threadIdx.x].load(first_boxes + S::columns * (top + threadIdx.x), sense);
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    T* const result = out + top * n + left;
    for (int i = 0; some && i < rows; ++i) {
      if (polygons::apart(row[i], column[threadIdx.x])) result[i * n + threadIdx.x] = T(acc_t<T>(0));
      else list[atomicAdd(&count, 1)] = uint16_t(i * BLOCK + threadIdx.x);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < count; k += BLOCK) {
      const int i = list[k] / BLOCK, j = list[k] % BLOCK;
      const S &p = row[i], &q = column[j];
      const double inter = polygons::overlap(p, q), whole = foreground ? p.area : p.area + q.area - inter;
      result[i * n + j] = T(acc_t<T>(inter > 0 ? inter / whole : 0.0));
    }
    __syncthreads();  // before the next strip takes the rows' place
  }
}

template <class T, class S>
__global__ void __launch_bounds__(256) aligned_pairs(int64_t n, const T* first_boxes, const T* second_boxes, double sense, bool foreground, T* out) {
  for (int64_t i = first(); i < n; i += stride()) {
    S p, q;
    p.load(first_boxes + S::columns * i, sense);
    q.load(second_boxes + S::columns * i, sense);
    const double inter = polygons::overlap(p, q), whole = foreground ? p.area : p.area + q.area - inter;
    out[i] = T(acc_t<T>(inter > 0 ? inter / whole : 0.0));
  }
}
