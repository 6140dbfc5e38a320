// IoU and suppression of rotated boxes and quadrilaterals.
#include "not_inline.cuh"
#include "polygons.cuh"
#include "suppress.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 16;  // of the first set, that a block holds in shared memory at a time, at most

// The IoU of two boxes, or the first one's part that they share; never less than 0, but NaN where S's numbers don't tell.
template <class S> __device__ inline typename S::Number ratio(const S& p, const S& q, bool foreground) {
  const typename S::Number none = 0.0, inter = polygons::overlap(p, q), whole = foreground ? p.area : p.area + q.area - inter;
  return inter == none ? none : inter / whole;
}
template <class S, class T> NOT_INLINE double exact_ratio(const T* first, const T* second, double sense, bool foreground) {
  S p, q;
  p.load(first, sense);
  q.load(second, sense);
  return ratio(p, q, foreground);
}

// Boxes are made shapes where they are read, in doubles; `sense` is that of angles. A block has `strip` rows at a time. Most pairs
// lie apart, as floats tell: those that don't are listed, and threads take them from the list, so that none waits for a neighbour's
// pair. They are compared in S's numbers, and in doubles where these are Pairs and don't tell.
template <class T, class S>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, int strip, const T* first_boxes, const T* second_boxes, double sense, bool foreground, T* out) {
  using Number = typename S::Number;
  __shared__ __align__(8) unsigned char row_memory[ROWS * sizeof(S)], column_memory[BLOCK * sizeof(S)];
  __shared__ polygons::Hull row_hull[ROWS];
  __shared__ uint16_t list[ROWS * BLOCK];
  __shared__ int count;
  S* const row = reinterpret_cast<S*>(row_memory);
  S* const column = reinterpret_cast<S*>(column_memory);
  const int64_t left = int64_t(blockIdx.x) * BLOCK;
  const bool some = left + threadIdx.x < n;
  typename S::Exact shape;
  polygons::Hull hull;
  if (some) {
    shape.load(second_boxes + S::columns * (left + threadIdx.x), sense);
    hull.set(shape);
    column[threadIdx.x].set(shape);
  }
  for (int64_t top = int64_t(blockIdx.y) * strip; top < m; top += int64_t(gridDim.y) * strip) {
    const int rows = int(m - top < strip ? m - top : strip);
    if (threadIdx.x < rows) {
      shape.load(first_boxes + S::columns * (top + threadIdx.x), sense);
      row_hull[threadIdx.x].set(shape);
      row[threadIdx.x].set(shape);
    }
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    T* const result = out + top * n + left;
    for (int i = 0; some && i < rows; ++i) {
      if (hull.apart(row_hull[i])) result[i * n + threadIdx.x] = T(acc_t<T>(0));
      else list[atomicAdd(&count, 1)] = uint16_t(i * BLOCK + threadIdx.x);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < count; k += BLOCK) {
      const int i = list[k] / BLOCK, j = list[k] % BLOCK;
      const S &p = row[i], &q = column[j];
      const Number found = ratio(p, q, foreground);
      acc_t<T> value = pairs::nearest<acc_t<T>>(found);
      if (pairs::is_pair<Number> && !(p.area > Number(0.0) && q.area > Number(0.0) && found >= Number(0.0)))
        value = acc_t<T>(exact_ratio<typename S::Exact>(first_boxes + S::columns * (top + i), second_boxes + S::columns * (left + j), sense, foreground));
      result[i * n + j] = T(value);
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
    out[i] = T(acc_t<T>(ratio(p, q, foreground)));
  }
}
