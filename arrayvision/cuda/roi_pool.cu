// RoI pooling: maxima of whole pixels in bins whose borders are rounded outwards.
#include "roi_bins.cuh"

template <class A> __device__ inline int clipped(A value, int length) { return int(min(max(value, A(0)), A(length))); }

template <class T>
__global__ void __launch_bounds__(256) pool_pixels(uint32_t n, uint64_t by_bins, uint64_t by_groups, const T* x, bool last, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, T* out, int* which) {
  using A = acc_t<T>;
  const uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const roi_bins::Task task(t, last, by_bins, by_groups);
  const A* roi = rois + task.k * 5;
  const bool good = regions::valid(roi, 5, batch);
  const int64_t size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? channels : 1;
  const A x1 = roi[1] * scale, y1 = roi[2] * scale, width = (roi[3] + 1) * scale - x1, height = (roi[4] + 1) * scale - y1;
  const A bh = height / A(oh), bw = width / A(ow), i = A(task.bin / ow), j = A(task.bin % ow);
  int top = 0, bottom = 0, left = 0, right = 0;
  if (good && width > 0 && height > 0) {
    top = clipped(floor(i * bh + y1), h), bottom = clipped(ceil((i + 1) * bh + y1), h);
    left = clipped(floor(j * bw + x1), w), right = clipped(ceil((j + 1) * bw + x1), w);
  }
  for (int g = 0; g < roi_bins::CHANNELS; ++g) {
    const int c = task.c + g * task.step;
    if (c >= channels) break;
    const T* const source = x + (good ? int64_t(roi[0]) : 0) * channels * size + c * along;
    A best = good ? A(0) : A(NAN);
    int number = -1;
    for (int a = top; a < bottom; ++a)
      for (int b = left; b < right; ++b) {
        const A value = A(source[(int64_t(a) * w + b) * pixel]);
        if (number < 0 || (!(value <= best) && best == best)) best = value, number = a * w + b;
      }
    out[(task.k * channels + c) * oh * ow + task.bin] = T(best);
    which[(task.k * channels + c) * oh * ow + task.bin] = number;
  }
}

// A thread holds one number of the gradient; or, `in_order`, an image's channel.
template <class T>
__global__ void __launch_bounds__(256) spread_pixels(int64_t n, int64_t regions, bool in_order, const T* grad, const int* which, const acc_t<T>* rois, int batch, int channels, int64_t size, int64_t bins, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t begin = in_order ? 0 : t / bins / channels, end = in_order ? regions : begin + 1;
    const int c = int(in_order ? t % channels : t / bins % channels);
    for (int64_t k = begin; k < end; ++k) {
      const A* roi = rois + k * 5;
      if (!regions::valid(roi, 5, batch) || (in_order && int64_t(roi[0]) != t / channels)) continue;
      A* const target = out + (int64_t(roi[0]) * channels + c) * size;
      for (int64_t bin = in_order ? 0 : t % bins; bin < (in_order ? bins : t % bins + 1); ++bin) {
        const int64_t at = (k * channels + c) * bins + bin;
        const int pixel = which[at];
        if (pixel < 0 || pixel >= size) continue;
        sums::add(target + pixel, A(grad[at]), in_order);
      }
    }
  }
}
