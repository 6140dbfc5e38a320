// Overlaps of upright boxes in space: turned rectangles seen from above, and heights.
#include "not_inline.cuh"
#include "polygons.cuh"

constexpr int BLOCK = 128;  // threads
constexpr int ROWS = 16;  // boxes of the first set, that a block holds in shared memory at a time
constexpr int SHARED = 0, FLAT_IOU = 1, IOU = 2;

template <class R> struct Upright {
  using Number = R;
  polygons::RotatedOf<R> base;
  R low, high;

  // From doubles. Like areas, heights may be too large or too small for Pairs: such a box has no area then.
  __device__ void set(const Upright<double>& s, bool tall) {
    base.set(s.base);
    low = s.low, high = s.high;
    const double height = s.high - s.low;
    if (pairs::is_pair<R> && tall && !(fabs(s.low) + fabs(s.high) < 1e12 && height > 1e-6 && height < 1e6)) base.area = 0.0;
  }
};
using Exact = Upright<double>;

__device__ inline void load(Exact& box, const double* rectangle, const double* heights) {
  box.base.load(rectangle, 1.0);
  box.low = heights[0], box.high = heights[1];
}

// What a measure says of two boxes: never less than 0, but NaN where R's numbers don't tell.
template <class R> __device__ inline R measured(const Upright<R>& p, const Upright<R>& q, int measure) {
  const R none = 0.0;
  R shared = polygons::overlap(p.base, q.base), sizes = p.base.area + q.base.area;
  if (measure == IOU) {
    const R tall = p.high - p.low, taller = q.high - q.low, endless = double(INFINITY);
    const R common = fmin(fmin(p.high, q.high) - fmax(p.low, q.low), fmin(tall, taller));
    shared = shared * (tall < endless && taller < endless ? common : none);  // NaN neither
    sizes = p.base.area * tall + q.base.area * taller;
  }
  return shared <= none ? none : measure == SHARED ? shared : shared / (sizes - shared);
}

// In doubles: where Pairs don't tell.
NOT_INLINE double measured_again(const double* rectangle, const double* heights, const double* other, const double* others, int measure) {
  Exact p, q;
  load(p, rectangle, heights);
  load(q, other, others);
  const double found = measured(p, q, measure);
  return found > 0 ? found : 0.0;
}

// What floats know: the hull from above, and heights, rounded outwards.
struct Outline {
  polygons::Hull hull;
  float low, high;

  __device__ void set(const Exact& s) {
    hull.set(s.base);
    low = __double2float_rd(s.low), high = __double2float_ru(s.high);
  }
  __device__ bool apart(const Outline& o, bool tall) const { return hull.apart(o.hull) || (tall && (high < o.low || o.high < low)); }
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

// A block has ROWS boxes of the first set at a time. Most pairs lie apart, as floats tell: those that don't are listed, and threads
// take them from the list, so that none waits for a neighbour's pair. They are compared in numbers R.
template <class T, class R>
__global__ void __launch_bounds__(BLOCK) all_pairs(int64_t m, int64_t n, const double* first_rectangles, const double* first_heights, const double* second_rectangles, const double* second_heights, int measure, T* out) {
  __shared__ __align__(8) unsigned char row_memory[ROWS * sizeof(Upright<R>)], column_memory[BLOCK * sizeof(Upright<R>)];
  __shared__ Outline row_outline[ROWS];
  __shared__ uint16_t list[ROWS * BLOCK];
  __shared__ int count;
  Upright<R>* const row = reinterpret_cast<Upright<R>*>(row_memory);
  Upright<R>* const column = reinterpret_cast<Upright<R>*>(column_memory);
  const int64_t left = int64_t(blockIdx.x) * BLOCK;
  const bool some = left + threadIdx.x < n, tall = measure == IOU;
  Exact box;
  Outline outline;
  if (some) {
    load(box, second_rectangles + 5 * (left + threadIdx.x), second_heights + 2 * (left + threadIdx.x));
    outline.set(box);
    column[threadIdx.x].set(box, tall);
  }
  for (int64_t top = int64_t(blockIdx.y) * ROWS; top < m; top += int64_t(gridDim.y) * ROWS) {
    const int rows = int(m - top < ROWS ? m - top : ROWS);
    if (threadIdx.x < rows) {
      load(box, first_rectangles + 5 * (top + threadIdx.x), first_heights + 2 * (top + threadIdx.x));
      row_outline[threadIdx.x].set(box);
      row[threadIdx.x].set(box, tall);
    }
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    T* const result = out + top * n + left;
    for (int i = 0; some && i < rows; ++i) {
      if (outline.apart(row_outline[i], tall)) result[i * n + threadIdx.x] = T(acc_t<T>(0));
      else list[atomicAdd(&count, 1)] = uint16_t(i * BLOCK + threadIdx.x);
    }
    __syncthreads();
    for (int k = threadIdx.x; k < count; k += BLOCK) {
      const int i = list[k] / BLOCK, j = list[k] % BLOCK;
      const Upright<R> &p = row[i], &q = column[j];
      const R found = measured(p, q, measure), none = 0.0;
      acc_t<T> value = found > none ? pairs::nearest<acc_t<T>>(found) : acc_t<T>(0);
      if (pairs::is_pair<R> && !(p.base.area > none && q.base.area > none && found >= none))
        value = acc_t<T>(measured_again(first_rectangles + 5 * (top + i), first_heights + 2 * (top + i), second_rectangles + 5 * (left + j),
                                        second_heights + 2 * (left + j), measure));
      result[i * n + j] = T(value);
    }
    __syncthreads();  // before the next strip takes the rows' place
  }
}
