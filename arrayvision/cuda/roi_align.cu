// RoIAlign: averages (roi_bins.cuh) and maxima over grids of bilinear samples.
#include "region_align.cuh"
#include "roi_bins.cuh"
#include "roi_upright.cuh"

// Samples along one axis are numbered modulo this: more than lie inside the map at once, so it is one number for one sample,
// and one that fits an int. It says nothing of where the border lies, which back ends may round differently.
template <class A> __device__ inline int64_t period(A g, int length) { return int64_t(g <= A(1024) ? g : min(g, 2 * A(length) + 8)); }

// `which` is the number of the greatest sample, -1 for one outside the map, or none.
template <class T>
__global__ void __launch_bounds__(256) pool_max(uint32_t n, uint64_t by_bins, uint64_t by_groups, const T* x, bool last, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, T* out, int* which) {
  using A = acc_t<T>;
  const uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const roi_bins::Task task(t, last, by_bins, by_groups);
  const A* roi = rois + task.k * 5;
  const bool good = regions::valid(roi, 5, batch);
  const int64_t image = good ? int64_t(roi[0]) : 0, size = int64_t(h) * w, pixel = last ? channels : 1, along = last ? 1 : size;
  const regions::Frame<A> o = regions::Align::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned});
  const A top = o.y + A(task.bin / ow) * o.bh, left = o.x + A(task.bin % ow) * o.bw;
  A from_y, from_x, fy, fx;
  int yl, yh, xl, xh;
  const int ny = bilinear::sample_range(top, o.bh, o.gh, A(-1), A(h), from_y), nx = bilinear::sample_range(left, o.bw, o.gw, A(-1), A(w), from_x);
  const bool some = o.gh > 0 && o.gw > 0;
  const int64_t rows = ny > 0 ? period(o.gh, h) : 1, columns = nx > 0 ? period(o.gw, w) : 1;
  const int64_t first_y = int64_t(fmod(from_y, A(rows))), first_x = int64_t(fmod(from_x, A(columns)));
  for (int g = 0; g < roi_bins::CHANNELS; ++g) {
    const int c = task.c + g * task.step;
    if (c >= channels) break;
    const T* const source = x + image * channels * size + c * along;
    A best = some ? A(-INFINITY) : A(0);
    int64_t number = -1, inside = 0;
    for (int u = 0; good && some && u < ny; ++u) {
      if (!bilinear::neighbours(top + (from_y + A(u) + A(0.5)) * o.bh / o.gh, h, yl, yh, fy)) continue;
      for (int v = 0; v < nx; ++v) {
        if (!bilinear::neighbours(left + (from_x + A(v) + A(0.5)) * o.bw / o.gw, w, xl, xh, fx)) continue;
        ++inside;
        const A value = (1 - fy) * ((1 - fx) * A(source[(int64_t(yl) * w + xl) * pixel]) + fx * A(source[(int64_t(yl) * w + xh) * pixel])) +
                        fy * ((1 - fx) * A(source[(int64_t(yh) * w + xl) * pixel]) + fx * A(source[(int64_t(yh) * w + xh) * pixel]));
        if (!(value <= best) && best == best) best = value, number = (first_y + u) % rows * columns + (first_x + v) % columns;
      }
    }
    if (some && A(inside) < o.gh * o.gw && best < 0) best = 0, number = -1;
    const int64_t result = (task.k * channels + c) * oh * ow + task.bin;
    out[result] = T(good ? best : A(NAN));
    which[result] = good ? int(number) : -1;
  }
}

// A thread holds one number of the gradient; or, `in_order`, an image's channel.
template <class T>
__global__ void __launch_bounds__(256) spread_max(int64_t n, int64_t regions, bool in_order, const T* grad, const int* which, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, acc_t<T>* out) {
  using A = acc_t<T>;
  const int64_t bins = int64_t(oh) * ow;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t begin = in_order ? 0 : t / bins / channels, end = in_order ? regions : begin + 1;
    const int c = int(in_order ? t % channels : t / bins % channels);
    for (int64_t k = begin; k < end; ++k) {
      const A* roi = rois + k * 5;
      if (!regions::valid(roi, 5, batch) || (in_order && int64_t(roi[0]) != t / channels)) continue;
      const regions::Frame<A> o = regions::Align::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned});
      A* const target = out + (int64_t(roi[0]) * channels + c) * h * w;
      for (int64_t bin = in_order ? 0 : t % bins; bin < (in_order ? bins : t % bins + 1); ++bin) {
        const int64_t at = (k * channels + c) * bins + bin;
        const A top = o.y + A(bin / ow) * o.bh, left = o.x + A(bin % ow) * o.bw;
        A from_y, from_x, fy, fx;
        int yl, yh, xl, xh;
        const int ny = bilinear::sample_range(top, o.bh, o.gh, A(-1), A(h), from_y), nx = bilinear::sample_range(left, o.bw, o.gw, A(-1), A(w), from_x);
        if (which[at] < 0 || nx == 0 || ny == 0) continue;
        const int64_t rows = period(o.gh, h), columns = period(o.gw, w), row = which[at] / columns;
        if (row >= rows) continue;
        const int64_t u = (row + rows - int64_t(fmod(from_y, A(rows)))) % rows;
        const int64_t v = (which[at] % columns + columns - int64_t(fmod(from_x, A(columns)))) % columns;
        if (u >= ny || v >= nx) continue;
        if (!bilinear::neighbours(top + (from_y + A(u) + A(0.5)) * o.bh / o.gh, h, yl, yh, fy)) continue;
        if (!bilinear::neighbours(left + (from_x + A(v) + A(0.5)) * o.bw / o.gw, w, xl, xh, fx)) continue;
        bilinear::each_neighbour(yl, yh, fy, xl, xh, fx, A(grad[at]), [&](int r, int q, A v) { sums::add(target + int64_t(r) * w + q, v, in_order); });
      }
    }
  }
}
