// Rotated feature alignment: each position's features and those at its box's centre (and corners), added.
#include "bilinear.cuh"
#include "sums.cuh"

// Calls f(row, column, weight) for the pixels that a box's points take. Its first two numbers are its centre's y and x.
template <class A, class F> __device__ inline void points_of(const A* box, A scale, int points, int h, int w, F&& f) {
  const A y = box[0] * scale, x = box[1] * scale, rx = box[2] * scale / 2, ry = box[3] * scale / 2, c = cos(box[4]), s = sin(box[4]);
  A fy, fx;
  int yl, yh, xl, xh;
  for (int k = 0; k < points; ++k) {
    const A a = k == 0 ? A(0) : k == 1 || k == 4 ? A(1) : A(-1), b = k == 0 ? A(0) : k <= 2 ? A(1) : A(-1);
    if (bilinear::neighbours(y + a * s * rx + b * c * ry, h, yl, yh, fy) && bilinear::neighbours(x + a * c * rx - b * s * ry, w, xl, xh, fx)) bilinear::each_neighbour(yl, yh, fy, xl, xh, fx, A(1), f);
  }
}

template <class A> __device__ inline bool known(const A* box) {
  return finite(box[0]) && finite(box[1]) && finite(box[2]) && finite(box[3]) && finite(box[4]);
}

template <class T>
__global__ void __launch_bounds__(256) align(int64_t n, const T* x, bool last, const acc_t<T>* boxes, int channels, int h, int w, acc_t<T> scale, int points, T* out) {
  using A = acc_t<T>;
  const int64_t size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? channels : 1;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t c = last ? t % channels : t / size % channels, p = last ? t / channels % size : t % size, b = t / channels / size;
    const A* box = boxes + (b * size + p) * 5;
    const T* const source = x + b * channels * size + c * along;
    A sum = A(source[p * pixel]);
    const bool good = known(box);
    if (good) points_of(box, scale, points, h, w, [&](int r, int q, A weight) { sum += weight * A(source[(int64_t(r) * w + q) * pixel]); });
    out[(b * channels + c) * size + p] = T(good ? sum : A(NAN));
  }
}

// A thread holds one number of the gradient; or, `in_order`, an image's channel.
template <class T>
__global__ void __launch_bounds__(256) spread_aligned(int64_t n, bool in_order, const T* grad, const acc_t<T>* boxes, int channels, int h, int w, acc_t<T> scale, int points, acc_t<T>* out) {
  using A = acc_t<T>;
  const int64_t size = int64_t(h) * w;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t plane = in_order ? t : t / size, b = plane / channels, begin = in_order ? 0 : t % size, end = in_order ? size : begin + 1;
    A* const target = out + plane * size;
    for (int64_t p = begin; p < end; ++p) {
      const A* box = boxes + (b * size + p) * 5;
      if (!known(box)) continue;
      const A g = A(grad[plane * size + p]);
      sums::add(target + p, g, in_order);
      points_of(box, scale, points, h, w, [&](int r, int q, A weight) { sums::add(target + int64_t(r) * w + q, weight * g, in_order); });
    }
  }
}
