// IoU of axis-aligned boxes: a thread holds one box of the second set and meets a strip of the first, held in shared memory.
#include "prelude.cuh"

constexpr int BLOCK = 128;  // threads: boxes of the second set
constexpr int ROWS = 16;  // of the first set, that a block holds in shared memory at a time

template <class A> struct Box {
  A x1, y1, x2, y2, area;  // the area is 0 where it isn't finite or no side is positive
  template <class T> __device__ void load(const T* box, A offset) {
    x1 = A(box[0]), y1 = A(box[1]), x2 = A(box[2]), y2 = A(box[3]);
    const A w = x2 - x1 + offset, h = y2 - y1 + offset;
    area = w * h;
    if (!(w > 0 && h > 0 && area > 0 && finite(area))) area = 0;
  }
  __device__ A over(const Box& o, A offset, bool foreground) const {
    const A w = max(min(x2, o.x2) - max(x1, o.x1) + offset, A(0)), h = max(min(y2, o.y2) - max(y1, o.y1) + offset, A(0));
    const A inter = w * h;
    if (!(inter > 0 && area > 0 && o.area > 0)) return 0;
    return inter / (foreground ? area : area + o.area - inter);
  }
};

template <class T>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, const T* first_boxes, const T* second_boxes, acc_t<T> offset, bool foreground, T* out) {
  __shared__ __align__(8) unsigned char memory[ROWS * sizeof(Box<acc_t<T>>)];
  Box<acc_t<T>>* const row = reinterpret_cast<Box<acc_t<T>>*>(memory);
  const int64_t j = first();
  Box<acc_t<T>> mine;
  if (j < n) mine.load(second_boxes + 4 * j, offset);
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < m; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(m - top < ROWS ? m - top : ROWS);
    if (threadIdx.x < rows) row[threadIdx.x].load(first_boxes + 4 * (top + threadIdx.x), offset);
    __syncthreads();
    if (j < n)
      for (int i = 0; i < rows; ++i) out[(top + i) * n + j] = T(row[i].over(mine, offset, foreground));
    __syncthreads();  // before the next strip takes the rows' place
  }
}

template <class T>
__global__ void __launch_bounds__(256) aligned_pairs(int64_t n, const T* first_boxes, const T* second_boxes, acc_t<T> offset, bool foreground, T* out) {
  for (int64_t i = first(); i < n; i += stride()) {
    Box<acc_t<T>> a, b;
    a.load(first_boxes + 4 * i, offset);
    b.load(second_boxes + 4 * i, offset);
    out[i] = T(a.over(b, offset, foreground));
  }
}
