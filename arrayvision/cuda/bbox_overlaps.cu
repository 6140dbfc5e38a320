// IoU of axis-aligned boxes: a thread holds COLUMNS boxes of the second set and meets a strip of the first, held in shared memory.
#include "prelude.cuh"

constexpr int BLOCK = 128;  // threads
constexpr int COLUMNS = 4;  // boxes of the second set that a thread holds, BLOCK apart
constexpr int ROWS = 16;  // of the first set, that a block holds in shared memory at a time, at most

template <class T> struct __align__(sizeof(T) < 8 ? 4 * sizeof(T) : 16) Corners { T at[4]; };

template <class A> struct __align__(16) Box {
  A x1, y1, x2, y2, area;  // a box whose area isn't finite, or of which no side is positive, lies nowhere

  // `aligned`: a box's corners can be loaded at once.
  template <class T> __device__ void load(const T* boxes, int64_t i, A offset, bool aligned) {
    if (aligned) {
      const Corners<T> corners = reinterpret_cast<const Corners<T>*>(boxes)[i];
      x1 = A(corners.at[0]), y1 = A(corners.at[1]), x2 = A(corners.at[2]), y2 = A(corners.at[3]);
    } else {
      const T* const box = boxes + 4 * i;
      x1 = A(box[0]), y1 = A(box[1]), x2 = A(box[2]), y2 = A(box[3]);
    }
    const A w = x2 - x1 + offset, h = y2 - y1 + offset;
    area = w * h;
    if (!(w > 0 && h > 0 && area > 0 && finite(area))) nowhere();
  }
  __device__ void nowhere() { x1 = y1 = A(INFINITY), x2 = y2 = -A(INFINITY), area = 0; }
  __device__ A over(const Box& o, A offset, bool foreground) const {
    const A w = max(min(x2, o.x2) - max(x1, o.x1) + offset, A(0)), h = max(min(y2, o.y2) - max(y1, o.y1) + offset, A(0));
    const A inter = w * h;
    if (!(inter > 0)) return 0;
    return inter / (foreground ? area : area + o.area - inter);
  }
};

// A block has `strip` rows at a time.
template <class T>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, int strip, bool aligned, const T* first_boxes, const T* second_boxes, acc_t<T> offset, bool foreground, T* out) {
  using A = acc_t<T>;
  __shared__ __align__(16) unsigned char memory[ROWS * sizeof(Box<A>)];
  Box<A>* const row = reinterpret_cast<Box<A>*>(memory);
  const int64_t j = int64_t(blockIdx.x) * (BLOCK * COLUMNS) + threadIdx.x;
  const int columns = j < n ? int(min((n - j + BLOCK - 1) / BLOCK, int64_t(COLUMNS))) : 0;
  Box<A> mine[COLUMNS];
#pragma unroll
  for (int c = 0; c < COLUMNS; ++c) {
    if (c < columns) mine[c].load(second_boxes, j + c * BLOCK, offset, aligned);
    else mine[c].nowhere();
  }
  for (int64_t top = int64_t(blockIdx.y) * strip; top < m; top += int64_t(gridDim.y) * strip) {
    const int rows = int(m - top < strip ? m - top : strip);
    if (threadIdx.x < rows) row[threadIdx.x].load(first_boxes, top + threadIdx.x, offset, aligned);
    __syncthreads();
    T* result = out + top * n + j;
    for (int i = 0; i < rows; ++i, result += n) {
      const Box<A> box = row[i];
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c)
        if (c < columns) result[c * BLOCK] = T(box.over(mine[c], offset, foreground));
    }
    __syncthreads();  // before the next strip takes the rows' place
  }
}

template <class T>
__global__ void __launch_bounds__(256) aligned_pairs(int64_t n, bool aligned, const T* first_boxes, const T* second_boxes, acc_t<T> offset, bool foreground, T* out) {
  const int64_t i = first();
  if (i >= n) return;
  Box<acc_t<T>> a, b;
  a.load(first_boxes, i, offset, aligned);
  b.load(second_boxes, i, offset, aligned);
  out[i] = T(a.over(b, offset, foreground));
}
