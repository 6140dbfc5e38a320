// RoI pooling: maxima of whole pixels in bins whose borders are rounded outwards.
#include "maxima_in_order.cuh"
#include "roi_bins.cuh"
#include "roi_last.cuh"

// The pixels of a region's bins.
template <class A> struct PixelBins {
  A x, y, bin_height, bin_width;
  bool some;

  __device__ PixelBins(const A* roi, A scale, int oh, int ow) : x(roi[1] * scale), y(roi[2] * scale) {
    const A width = (roi[3] + 1) * scale - x, height = (roi[4] + 1) * scale - y;
    bin_height = height / A(oh), bin_width = width / A(ow), some = width > 0 && height > 0;
  }
  static __device__ int clipped(A value, int length) { return int(min(max(value, A(0)), A(length))); }
  __device__ int top(int i, int h) const { return some ? clipped(floor(A(i) * bin_height + y), h) : 0; }
  __device__ int bottom(int i, int h) const { return some ? clipped(ceil((A(i) + 1) * bin_height + y), h) : 0; }
  __device__ int left(int j, int w) const { return some ? clipped(floor(A(j) * bin_width + x), w) : 0; }
  __device__ int right(int j, int w) const { return some ? clipped(ceil((A(j) + 1) * bin_width + x), w) : 0; }
};

template <class T>
__global__ void __launch_bounds__(256) pool_pixels(uint32_t n, uint64_t by_bins, uint64_t by_groups, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, T* out, int* which) {
  using A = acc_t<T>;
  const uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const roi_bins::Task task(t, false, by_bins, by_groups);
  const A* roi = rois + task.k * 5;
  const bool good = regions::valid(roi, 5, batch);
  const int64_t size = int64_t(h) * w;
  const PixelBins<A> o(roi, scale, oh, ow);
  const int i = task.bin / ow, j = task.bin % ow;
  const int top = o.top(i, h), bottom = good ? o.bottom(i, h) : top, left = o.left(j, w), right = o.right(j, w);
  for (int g = 0; g < roi_bins::CHANNELS; ++g) {
    const int c = task.c + g * task.step;
    if (c >= channels) break;
    const T* const source = x + ((good ? int64_t(roi[0]) : 0) * channels + c) * size;
    A best = good ? A(0) : A(NAN);
    int number = -1;
    for (int a = top; a < bottom; ++a)
      for (int b = left; b < right; ++b) {
        const A value = A(source[int64_t(a) * w + b]);
        if (number < 0 || (!(value <= best) && best == best)) best = value, number = a * w + b;
      }
    out[(task.k * channels + c) * oh * ow + task.bin] = T(best);
    which[(task.k * channels + c) * oh * ow + task.bin] = number;
  }
}

// The same for x (B, H, W, C), V channels a load (roi_last.cuh).
template <class T, int V>
__global__ void __launch_bounds__(256) pool_pixels_last(uint64_t by_columns, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, T* out, int* which) {
  using A = acc_t<T>;
  constexpr int BINS = 32;
  __shared__ __align__(8) unsigned char turned[roi_last::Tile<T, BINS>::BYTES], numbers[roi_last::Tile<int, BINS>::BYTES];
  const roi_last::Tile<T, BINS> tile(turned);
  const roi_last::Tile<int, BINS> numbered(numbers);
  const A* const roi = rois + int64_t(blockIdx.x) * 5;
  const bool good = regions::valid(roi, 5, batch);
  const int bins = oh * ow, c0 = blockIdx.y * roi_last::CHANNELS, mine = min(roi_last::CHANNELS, channels - c0);
  const roi_last::Lanes<V> own;
  const T* const source = x + (good ? int64_t(roi[0]) * h * w * channels : 0) + c0 + own.lane * V;
  const int64_t first_result = (int64_t(blockIdx.x) * channels + c0) * bins;
  const PixelBins<A> o(roi, scale, oh, ow);
  roi_last::by_tiles<BINS>(
    own, mine, bins, by_columns,
    [&](uint32_t i, uint32_t j, int b) {
      const int top = o.top(i, h), bottom = good ? o.bottom(i, h) : top, left = o.left(j, w), right = o.right(j, w);
      A best[V];
      int number[V];
      for (int v = 0; v < V; ++v) best[v] = good ? A(0) : A(NAN), number[v] = -1;
      if (top < bottom && left < right) {
        const Channels<T, V> values = *reinterpret_cast<const Channels<T, V>*>(source + int64_t(top * w + left) * channels);
        for (int v = 0; v < V; ++v) best[v] = A(values.at[v]), number[v] = top * w + left;
      }
      for (int a = top; a < bottom; ++a) {
        const T* pixel = source + int64_t(a * w + left) * channels;
        for (int p = a * w + left; p < a * w + right; ++p, pixel += channels) {
          const Channels<T, V> values = *reinterpret_cast<const Channels<T, V>*>(pixel);
          for (int v = 0; v < V; ++v) {
            const A value = A(values.at[v]);
            if (!(value <= best[v]) && best[v] == best[v]) best[v] = value, number[v] = p;
          }
        }
      }
      for (int v = 0; v < V; ++v) tile(own.lane * V + v, b) = T(best[v]), numbered(own.lane * V + v, b) = number[v];
    },
    [&](int start, int here) {
      tile.write(mine, here, bins, out + first_result + start);
      numbered.write(mine, here, bins, which + first_result + start);
    });
}

// Maxima that are pixels, for their gradient in a fixed order.
template <class A> struct ChosenPixels {
  static constexpr int columns = 5;
  struct Bin {};

  int h, w;

  __device__ ChosenPixels(const A*, const regions::Pooling<A>&, int h, int w) : h(h), w(w) {}
  __device__ Bin bin(int, int) const { return {}; }
  __device__ bool chosen(Bin, int which, int& y, int& above, A& fy, int& x, int& behind, A& fx) const {
    if (which < 0 || which / w >= h) return false;
    y = above = which / w, x = behind = which % w, fy = fx = 0;
    return true;
  }
};

// A thread holds one number of the gradient.
template <class T>
__global__ void __launch_bounds__(256) spread_pixels(int64_t n, const T* grad, const int* which, const acc_t<T>* rois, int batch, int channels, int64_t size, int64_t bins, acc_t<T>* out) {
  using A = acc_t<T>;
  for (int64_t t = first(); t < n; t += stride()) {
    const A* const roi = rois + t / bins / channels * 5;
    const int pixel = which[t];
    if (regions::valid(roi, 5, batch) && pixel >= 0 && pixel < size) atomicAdd(out + (int64_t(roi[0]) * channels + t / bins % channels) * size + pixel, A(grad[t]));
  }
}
