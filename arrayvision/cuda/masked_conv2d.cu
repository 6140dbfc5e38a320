// Convolution at some positions: columns of those, and results laid where they belong.
#include "prelude.cuh"

namespace masked {

// A position of the result by its number among all of (N, h, w).
struct Position {
  int64_t image;
  int y, x;
};

__device__ inline Position position(int64_t number, int h, int w) {
  return Position{number / w / h, int(number / w % h), int(number % w)};
}

}  // namespace masked

// 0 for positions that are computed, so that they are the first in order, and how many they are.
template <class T>
__global__ void __launch_bounds__(256) choose(int64_t n, const T* mask, int rows, int columns, int h, int w, int* others, int* count) {
  for (int64_t e = first(); e < n; e += stride()) {
    const masked::Position o = masked::position(e, h, w);
    const bool wanted = o.y < rows && o.x < columns && acc_t<T>(mask[(o.image * rows + o.y) * columns + o.x]) > 0;
    others[e] = !wanted;
    if (wanted) atomicAdd(count, 1);
  }
}

// columns (channels * height * width, count) of the positions order[start + k].
template <class T>
__global__ void __launch_bounds__(256) fill_columns(int64_t n, const T* x, const int64_t* order, int64_t start, int64_t count, int channels, int rows, int cols, int h, int w, int height, int width, int py, int px, T* columns) {
  for (int64_t e = first(); e < n; e += stride()) {
    const int64_t row = e / count;
    const masked::Position o = masked::position(order[start + e - row * count], h, w);
    const int y = o.y - py + int(row / width % height), u = o.x - px + int(row % width);
    const bool inside = y >= 0 && y < rows && u >= 0 && u < cols;
    columns[e] = inside ? x[((o.image * channels + row / width / height) * rows + y) * cols + u] : T(acc_t<T>(0));
  }
}

// out[image, plane, y, x] = found[plane, k] + bias[plane] for the k-th of those positions.
template <class T>
__global__ void __launch_bounds__(256) lay_out(int64_t n, const T* found, const int64_t* order, int64_t start, int64_t count, bool biased, const T* bias, int planes, int h, int w, T* out) {
  for (int64_t e = first(); e < n; e += stride()) {
    const int64_t plane = e / count;
    const masked::Position o = masked::position(order[start + e - plane * count], h, w);
    const acc_t<T> own = biased ? acc_t<T>(bias[plane]) : acc_t<T>(0);
    out[((o.image * planes + plane) * h + o.y) * w + o.x] = T(acc_t<T>(found[e]) + own);
  }
}
