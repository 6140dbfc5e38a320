// Deformable RoI pooling: RoIAlign with moved bins (roi_bins.cuh), and the gradient of the offset.
#include "region_align.cuh"
#include "roi_bins.cuh"
#include "roi_upright.cuh"

// A warp holds some bins (roi_bins::Sharing).
template <class T>
__global__ void __launch_bounds__(256) offset_gradient(int64_t n, int64_t count, const T* grad, const T* x, bool last, const acc_t<T>* rois, const acc_t<T>* offset, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, acc_t<T> gamma, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const roi_bins::Sharing mine(t, last);
    const int bins = oh * ow, bin = int(mine.bin % bins), i = bin / ow, j = bin % ow;
    const int64_t k = mine.bin / bins, size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? channels : 1;
    const A* roi = rois + k * 5;
    A by_x = 0, by_y = 0;
    if (k < count && regions::valid(roi, 5, batch)) {
      const regions::Frame<A> o = regions::Align::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, true});
      const A* move = offset + k * 2 * bins;
      const A top = o.y + A(i) * o.bh + gamma * o.bh * A(oh) * move[bins + bin], left = o.x + A(j) * o.bw + gamma * o.bw * A(ow) * move[bin];
      A from_y, from_x, fy, fx;
      int yl, yh, xl, xh;
      const int ny = bilinear::sample_range(top, o.bh, o.gh, A(-1), A(h), from_y), nx = bilinear::sample_range(left, o.bw, o.gw, A(-1), A(w), from_x);
      for (int u = 0; u < ny; ++u) {
        const A y = top + (from_y + A(u) + A(0.5)) * o.bh / o.gh;
        if (!bilinear::neighbours(y, h, yl, yh, fy)) continue;
        for (int v = 0; v < nx; ++v) {
          const A p = left + (from_x + A(v) + A(0.5)) * o.bw / o.gw;
          if (!bilinear::neighbours(p, w, xl, xh, fx)) continue;
          for (int c = mine.lane; c < channels; c += mine.lanes) {
            const T* s = x + int64_t(roi[0]) * channels * size + c * along;
            const A g = A(grad[(k * channels + c) * bins + bin]);
            const A a = A(s[(int64_t(yl) * w + xl) * pixel]), b = A(s[(int64_t(yl) * w + xh) * pixel]);
            const A d = A(s[(int64_t(yh) * w + xl) * pixel]), e = A(s[(int64_t(yh) * w + xh) * pixel]);
            // Pixels without a share count for nothing, whatever they hold.
            if (y > 0 && yh > yl) by_y += g * ((1 - fx) * (d - a) + (fx > 0 ? fx * (e - b) : A(0)));
            if (p > 0 && xh > xl) by_x += g * ((1 - fy) * (b - a) + (fy > 0 ? fy * (e - d) : A(0)));
          }
        }
      }
      by_x *= gamma * o.bw * A(ow) / o.gh / o.gw, by_y *= gamma * o.bh * A(oh) / o.gh / o.gw;
      if (!(o.gh > 0 && o.gw > 0)) by_x = by_y = 0;
    }
    by_x = mine.sum(by_x), by_y = mine.sum(by_y);
    if (mine.lane == 0 && k < count) out[(k * 2) * bins + bin] = by_x, out[(k * 2 + 1) * bins + bin] = by_y;
  }
}
