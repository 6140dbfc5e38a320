// Overlaps of upright boxes in space: turned rectangles seen from above, and heights. A thread a box of the second set.
#include "polygons.cuh"

constexpr int BLOCK = 128;  // threads
constexpr int ROWS = 16;  // boxes of the first set, that a block holds in shared memory at a time
constexpr int SHARED = 0, FLAT_IOU = 1, IOU = 2;

struct Upright {
  polygons::Rotated base;
  double low, high;

  __device__ void load(const double* rectangle, const double* heights) {
    base.load(rectangle, 1.0);
    low = heights[0], high = heights[1];
  }
};

// Rectangles (n, 5) and heights (n, 2) of boxes (n, 7), or (n, 5) if they are flat; see cpu/boxes_in_space.py.
template <class T>
__global__ void __launch_bounds__(256) from_above(int64_t n, const T* boxes, bool flat, bool turned, double* rectangles, double* heights) {
  const int64_t i = first();
  if (i >= n) return;
  const T* const box = boxes + i * (flat ? 5 : 7);
  const auto b = [box](int k) { return double(acc_t<T>(box[k])); };
  double* const r = rectangles + i * 5;
  r[0] = flat ? b(0) / 2 + b(2) / 2 : b(0);
  r[1] = flat ? b(1) / 2 + b(3) / 2 : b(1);
  r[2] = flat ? b(2) - b(0) : b(3);
  r[3] = flat ? b(3) - b(1) : b(4);
  r[4] = !turned ? 0.0 : flat ? b(4) : b(6);
  heights[2 * i] = flat ? 0.0 : b(2) - b(5) / 2;
  heights[2 * i + 1] = flat ? 0.0 : b(2) + b(5) / 2;
}

template <class T>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, const double* first_rectangles, const double* first_heights, const double* second_rectangles, const double* second_heights, int measure, T* out) {
  __shared__ __align__(8) unsigned char memory[ROWS * sizeof(Upright)];
  Upright* const row = reinterpret_cast<Upright*>(memory);
  const int64_t j = first();
  Upright mine = {};
  if (j < n) mine.load(second_rectangles + 5 * j, second_heights + 2 * j);
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < m; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(m - top < ROWS ? m - top : ROWS);
    if (threadIdx.x < rows) row[threadIdx.x].load(first_rectangles + 5 * (top + threadIdx.x), first_heights + 2 * (top + threadIdx.x));
    __syncthreads();
    if (j < n)
      for (int i = 0; i < rows; ++i) {
        const Upright& p = row[i];
        double shared = polygons::overlap(p.base, mine.base), sizes = p.base.area + mine.base.area;
        if (measure == IOU) {
          const double tall = p.high - p.low, taller = mine.high - mine.low;
          const double common = fmin(fmin(p.high, mine.high) - fmax(p.low, mine.low), fmin(tall, taller));
          shared *= tall < double(INFINITY) && taller < double(INFINITY) ? common : 0.0;  // NaN neither
          sizes = p.base.area * tall + mine.base.area * taller;
        }
        const double value = measure == SHARED ? shared : shared / (sizes - shared);
        out[(top + i) * n + j] = T(acc_t<T>(shared > 0 ? value : 0.0));
      }
    __syncthreads();  // before the next strip takes the rows' place
  }
}
