// Distances between clouds of points, and their gradients: a thread a point, or a few where points are few.
#include "nearest.cuh"
#include "sums.cuh"

constexpr int BLOCK = 256;  // threads, and points of a tile

// The nearest of source (clouds, points, D) to each of queries (clouds, count, D).
template <class T, int D> __global__ void __launch_bounds__(BLOCK) search(int64_t clouds, int64_t count, int points, int lanes, const T* queries, const T* source, T* squares, int* indices) {
  using A = acc_t<T>;
  __shared__ A tile[BLOCK * D];
  const int64_t row = first() / lanes;
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    A own[D] = {};
    if (row < count)
      for (int c = 0; c < D; ++c) own[c] = A(queries[(cloud * count + row) * D + c]);
    nearest::Best<A, 1> best;
    nearest::scan<BLOCK>(own, source + cloud * points * D, points, lanes, tile, best);
    if (row < count && threadIdx.x % unsigned(lanes) == 0) {
      best.fill(points);
      squares[cloud * count + row] = T(best.square[0]);
      indices[cloud * count + row] = best.index[0];
    }
  }
}

// The same of any number of coordinates. All threads of a warp read the same point at once.
template <class T> __global__ void __launch_bounds__(BLOCK) search_any(int64_t clouds, int64_t count, int points, int dimensions, const T* queries, const T* source, T* squares, int* indices) {
  using A = acc_t<T>;
  const int64_t row = first();
  if (row >= count) return;
  for (int64_t cloud = blockIdx.y; cloud < clouds; cloud += gridDim.y) {
    const T* const own = queries + (cloud * count + row) * dimensions;
    nearest::Best<A, 1> best;
    for (int p = 0; p < points; ++p) {
      const T* const point = source + (cloud * points + p) * dimensions;
      A square = 0;
      for (int c = 0; c < dimensions; ++c) {
        const A d = A(point[c]) - A(own[c]);
        square += d * d;
      }
      best.add(square, p);
    }
    best.fill(points);
    squares[cloud * count + row] = T(best.square[0]);
    indices[cloud * count + row] = best.index[0];
  }
}

// Adds what the squares of the distances from own (clouds, count, D) to the points of other at index do to both: a thread a
// point; or, `in_order`, a thread a cloud's coordinate, which goes through all points.
template <class T> __global__ void __launch_bounds__(256) pull(int64_t n, bool in_order, int64_t count, int64_t others, int dimensions, const T* grad, const T* own, const T* other, const int* index, acc_t<T>* out, acc_t<T>* out_other) {
  using A = acc_t<T>;
  const int64_t t = first();
  if (t >= n) return;
  const int64_t cloud = t / (in_order ? dimensions : count), from = in_order ? 0 : t % count, to = in_order ? count : from + 1;
  const int c0 = in_order ? int(t % dimensions) : 0, c1 = in_order ? c0 + 1 : dimensions;
  for (int64_t i = from; i < to; ++i) {
    const int64_t row = cloud * count + i, j = index[row], target = cloud * others + j;
    if (j < 0 || j >= others) continue;
    const A twice = 2 * A(grad[row]);
    for (int c = c0; c < c1; ++c) {
      const A d = twice * (A(own[row * dimensions + c]) - A(other[target * dimensions + c]));
      sums::add(out + row * dimensions + c, d, true);  // no other thread's, in this launch
      sums::add(out_other + target * dimensions + c, -d, in_order);
    }
  }
}
