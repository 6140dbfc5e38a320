// IoU and suppression of rotated boxes and quadrilaterals.
#include "polygons.cuh"
#include "suppress.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 16;  // of the first set, that a block holds in shared memory at a time

namespace polygons {

// `single`: IoUs count as floats.
template <class S> __device__ inline bool above(const S& p, const S& q, double threshold, double single) {
  if (fmin(p.area, q.area) < 0.9999 * threshold * fmax(p.area, q.area)) return false;
  const double inter = overlap(p, q);
  if (!(inter > 0)) return false;
  const double iou = inter / (p.area + q.area - inter);
  return (single != 0 ? double(float(iou)) : iou) > threshold;
}

}  // namespace polygons

// Boxes are made shapes where they are read; `sense` is that of angles.
template <class T, class S>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, const T* first_boxes, const T* second_boxes, double sense, bool foreground, T* out) {
  __shared__ __align__(8) unsigned char memory[ROWS * sizeof(S)];
  S* const row = reinterpret_cast<S*>(memory);
  const int64_t j = first();
  S mine;
  if (j < n) mine.load(second_boxes + S::columns * j, sense);
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < m; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(m - top < ROWS ? m - top : ROWS);
    if (threadIdx.x < rows) row[threadIdx.x].load(first_boxes + S::columns * (top + threadIdx.x), sense);
    __syncthreads();
    if (j < n)
      for (int i = 0; i < rows; ++i) {
        const double inter = polygons::overlap(row[i], mine);
        const double whole = foreground ? row[i].area : row[i].area + mine.area - inter;
        out[(top + i) * n + j] = T(acc_t<T>(inter > 0 ? inter / whole : 0.0));
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
