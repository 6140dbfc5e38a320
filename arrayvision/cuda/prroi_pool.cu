// Precise RoI pooling (roi_bins.cuh), and the gradient of the regions' coordinates.
#include "region_precise.cuh"
#include "roi_bins.cuh"
#include "roi_upright.cuh"

// What moving each of a bin's four edges does to sum(grad * result): edges (K, 4, oh, ow), top, bottom, left, right. A warp
// holds some bins (roi_bins::Sharing).
template <class T>
__global__ void __launch_bounds__(256) edge_gradient(int64_t n, int64_t count, const T* grad, const T* x, bool last, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, acc_t<T>* edges) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const roi_bins::Sharing mine(t, last);
    const int bins = oh * ow, bin = int(mine.bin % bins);
    const int64_t k = mine.bin / bins, size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? channels : 1;
    const A* roi = rois + k * 5;
    A sum[4] = {};
    if (k < count && regions::valid(roi, 5, batch)) {
      const regions::Frame<A> o = regions::Precise::frame(roi, regions::Pooling<A>{oh, ow, scale});
      const A top = o.y + A(bin / ow) * o.bh, left = o.x + A(bin % ow) * o.bw;
      int y0, y1, x0, x1;
      regions::touched(top, o.bh, h, y0, y1);
      regions::touched(left, o.bw, w, x0, x1);
      for (int y = y0; y < y1; ++y) {
        const regions::Share<A> v = regions::share_of(top, o.bh, y);
        for (int p = x0; p < x1; ++p) {
          const regions::Share<A> u = regions::share_of(left, o.bw, p);
          A value = 0;
          for (int q = mine.lane; q < channels; q += mine.lanes)
            value += A(grad[(k * channels + q) * bins + bin]) * A(x[int64_t(roi[0]) * channels * size + q * along + (int64_t(y) * w + p) * pixel]);
          sum[0] += v.by_start * u.weight * value, sum[1] += v.by_stop * u.weight * value;
          sum[2] += v.weight * u.by_start * value, sum[3] += v.weight * u.by_stop * value;
        }
      }
    }
    for (int edge = 0; edge < 4; ++edge) {
      sum[edge] = mine.sum(sum[edge]);
      if (mine.lane == 0 && k < count) edges[(k * 4 + edge) * bins + bin] = sum[edge];
    }
  }
}

// Coordinates move the edges of all bins, in proportion to where these lie.
template <class T>
__global__ void __launch_bounds__(256) roi_gradient(int64_t n, const acc_t<T>* edges, int oh, int ow, acc_t<T> scale, T* out) {
  using A = acc_t<T>;
  for (int64_t k = first(); k < n; k += stride()) {
    A x1 = 0, y1 = 0, x2 = 0, y2 = 0;
    const int bins = oh * ow;
    for (int bin = 0; bin < bins; ++bin) {
      const A* e = edges + k * 4 * bins + bin;
      const A i = A(bin / ow), j = A(bin % ow);
      y1 += e[0] * (1 - i / A(oh)) + e[bins] * (1 - (i + 1) / A(oh)), y2 += e[0] * i / A(oh) + e[bins] * (i + 1) / A(oh);
      x1 += e[2 * bins] * (1 - j / A(ow)) + e[3 * bins] * (1 - (j + 1) / A(ow)), x2 += e[2 * bins] * j / A(ow) + e[3 * bins] * (j + 1) / A(ow);
    }
    T* o = out + k * 5;
    o[0] = T(A(0)), o[1] = T(x1 * scale), o[2] = T(y1 * scale), o[3] = T(x2 * scale), o[4] = T(y2 * scale);
  }
}
