// BorderAlign: the maximum of bilinear samples along each border of boxes.
#include "bilinear.cuh"
#include "sums.cuh"

// A border's sample, `step` (0 to 1) of the way: top, left from the first corner; bottom, right from the second.
template <class A> __device__ inline void point(const A* box, int border, A step, A& y, A& x) {
  const A w = (box[2] - box[0]) * step, h = (box[3] - box[1]) * step;
  y = border == 0 ? box[1] : border == 1 ? box[1] + h : border == 2 ? box[3] : box[3] - h;
  x = border == 0 ? box[0] + w : border == 1 ? box[0] : border == 2 ? box[2] - w : box[2];
}

template <class A> __device__ inline bool known(const A* box) { return finite(box[0]) && finite(box[1]) && finite(box[2]) && finite(box[3]); }

// out and which (B, C, N, 4). A thread holds one number.
template <class T>
__global__ void __launch_bounds__(256) pool_borders(int64_t n, const T* x, bool last, const acc_t<T>* boxes, int channels, int64_t count, int h, int w, int pool_size, T* out, int* which) {
  using A = acc_t<T>;
  const int64_t size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? 4 * channels : 1;
  for (int64_t t = first(); t < n; t += stride()) {
    int border, c;
    int64_t r, b;
    if (last) c = int(t % channels), border = int(t / channels % 4), r = t / channels / 4 % count, b = t / channels / 4 / count;
    else border = int(t % 4), r = t / 4 % count, c = int(t / 4 / count % channels), b = t / 4 / count / channels;
    const A* box = boxes + (b * count + r) * 4;
    const T* const source = x + b * 4 * channels * size + (int64_t(border) * channels + c) * along;
    const bool good = known(box);
    A best = -INFINITY, y, across, fy, fx;
    int number = -1, yl, yh, xl, xh;
    bool outside = false;
    for (int k = 0; good && k <= pool_size; ++k) {
      point(box, border, A(k) / A(pool_size), y, across);
      if (!bilinear::neighbours(y, h, yl, yh, fy) || !bilinear::neighbours(across, w, xl, xh, fx)) {
        outside = true;
        continue;
      }
      const A value = (1 - fy) * ((1 - fx) * A(source[(int64_t(yl) * w + xl) * pixel]) + fx * A(source[(int64_t(yl) * w + xh) * pixel])) +
                      fy * ((1 - fx) * A(source[(int64_t(yh) * w + xl) * pixel]) + fx * A(source[(int64_t(yh) * w + xh) * pixel]));
      if (!(value <= best) && best == best) best = value, number = k;
    }
    if (outside && best < 0) best = 0, number = -1;
    const int64_t at = ((b * channels + c) * count + r) * 4 + border;
    out[at] = T(good ? best : A(NAN));
    which[at] = number;
  }
}

// A thread holds one number of the gradient; or, `in_order`, an image's channel and border.
template <class T>
__global__ void __launch_bounds__(256) spread_borders(int64_t n, bool in_order, const T* grad, const int* which, const acc_t<T>* boxes, int channels, int64_t count, int h, int w, int pool_size, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const int border = int(t % 4);
    const int64_t begin = in_order ? 0 : t / 4 % count, end = in_order ? count : begin + 1;
    const int64_t rest = in_order ? t / 4 : t / 4 / count, c = rest % channels, b = rest / channels;
    A* const target = out + ((b * 4 + border) * channels + c) * h * w;
    for (int64_t r = begin; r < end; ++r) {
      const A* box = boxes + (b * count + r) * 4;
      const int64_t at = ((b * channels + c) * count + r) * 4 + border;
      A y, x, fy, fx;
      int yl, yh, xl, xh;
      if (!known(box) || which[at] < 0 || which[at] > pool_size) continue;
      point(box, border, A(which[at]) / A(pool_size), y, x);
      if (!bilinear::neighbours(y, h, yl, yh, fy) || !bilinear::neighbours(x, w, xl, xh, fx)) continue;
      bilinear::each_neighbour(yl, yh, fy, xl, xh, fx, A(grad[at]), [&](int p, int q, A v) { sums::add(target + int64_t(p) * w + q, v, in_order); });
    }
  }
}
