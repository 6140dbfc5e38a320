// Attention along each pixel's column and row. A pixel has h + w weights, those of its column first; they lie one after another
// as maps, (N, h + w, h, w), so that neighbouring threads, which have neighbouring pixels, touch neighbouring numbers.
#include "loops.cuh"

constexpr int SHARE = 4;  // weights, or channels, of a thread, which share what it reads

namespace crosses {

// A thread's pixel, and which few of `many` things it computes for it.
struct Place {
  int64_t image, size;
  int first, y, x;
};

__device__ inline Place place(int64_t e, int many, int h, int w) {
  const int groups = (many + SHARE - 1) / SHARE;
  Place o;
  o.size = int64_t(h) * w;
  const int64_t pixel = e % o.size, rest = e / o.size;
  o.y = int(pixel / w), o.x = int(pixel - int64_t(o.y) * w);
  o.first = int(rest % groups) * SHARE, o.image = rest / groups;
  return o;
}

}  // namespace crosses

// out[t] = the sum over channels of a at the pixel and b at the t-th of its cross; -infinity for itself in its column, if wanted.
template <class T>
__global__ void __launch_bounds__(256) energies(int64_t n, const T* a, const T* b, int channels, int h, int w, bool once, acc_t<T>* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const crosses::Place o = crosses::place(e, h + w, h, w);
  int64_t at[SHARE];
  A sums[SHARE] = {};
  for (int k = 0; k < SHARE; ++k) {
    const int t = o.first + k < h + w ? o.first + k : o.first;
    at[k] = t < h ? int64_t(t) * w + o.x : int64_t(o.y) * w + (t - h);
  }
  const T *left = a + o.image * channels * o.size + int64_t(o.y) * w + o.x, *right = b + o.image * channels * o.size;
  for (int c = 0; c < channels; ++c, left += o.size, right += o.size) {
    const A value = A(*left);
    for (int k = 0; k < SHARE; ++k) sums[k] += value * A(right[at[k]]);
  }
  for (int k = 0; k < SHARE; ++k) {
    const int t = o.first + k;
    if (t < h + w) out[(o.image * (h + w) + t) * o.size + int64_t(o.y) * w + o.x] = once && t == o.y ? A(-INFINITY) : sums[k];
  }
}

// Weights in the place of energies, and the logarithms of sums of exponentials; a thread a pixel.
template <class A>
__global__ void __launch_bounds__(256) normalize(int64_t n, int many, int64_t size, A* weights, A* logs) {
  for (int64_t e = first(); e < n; e += stride()) {
    A* const own = weights + (e / size) * many * size + e % size;
    A top = A(-INFINITY), total = 0;
    for (int t = 0; t < many; ++t) {
      const A value = own[t * size];
      if (value > top || value != value) top = value;
    }
    for (int t = 0; t < many; ++t) {
      const A weight = exp(own[t * size] - top);
      own[t * size] = weight;
      total += weight;
    }
    for (int t = 0; t < many; ++t) own[t * size] /= total;
    logs[e] = top + log(total);
  }
}

// The energies' gradients in the place of those of weights, and weights in that of energies.
template <class A>
__global__ void __launch_bounds__(256) slopes(int64_t n, int many, int64_t size, const A* logs, A* weights, A* grads) {
  for (int64_t e = first(); e < n; e += stride()) {
    const int64_t at = (e / size) * many * size + e % size;
    A shared = 0;
    for (int t = 0; t < many; ++t) {
      const A weight = exp(weights[at + t * size] - logs[e]);
      weights[at + t * size] = weight;
      if (weight != 0) shared += weight * grads[at + t * size];
    }
    for (int t = 0; t < many; ++t) {
      const A weight = weights[at + t * size];
      grads[at + t * size] = weight != 0 ? weight * (grads[at + t * size] - shared) : A(0);
    }
  }
}

// out = the sum over a pixel's cross of weights times x there.
template <class T>
__global__ void __launch_bounds__(256) attend(int64_t n, const acc_t<T>* weights, const T* x, int channels, int h, int w, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const crosses::Place o = crosses::place(e, channels, h, w);
  const int64_t start = (o.image * channels + o.first) * o.size, pixel = int64_t(o.y) * w + o.x;
  const A* own = weights + o.image * (h + w) * o.size + pixel;
  A sums[SHARE] = {};
  for (int t = 0; t < h + w; ++t, own += o.size) {
    const A weight = *own;
    if (weight == 0) continue;  // whatever is there
    const T* values = x + start + (t < h ? int64_t(t) * w + o.x : int64_t(o.y) * w + (t - h));
    for (int k = 0; k < SHARE; ++k)
      if (o.first + k < channels) sums[k] += weight * A(values[k * o.size]);
  }
  for (int k = 0; k < SHARE; ++k)
    if (o.first + k < channels) out[start + k * o.size + pixel] = T(sums[k]);
}

// The transpose: out = the sum over the pixels in whose cross this one is of their weights for it times x there.
template <class T>
__global__ void __launch_bounds__(256) give_back(int64_t n, const acc_t<T>* weights, const T* x, int channels, int h, int w, T* out) {
  using A = acc_t<T>;
  const int64_t e = loops::thread<int64_t>();
  if (e >= n) return;
  const crosses::Place o = crosses::place(e, channels, h, w);
  const int64_t start = (o.image * channels + o.first) * o.size, pixel = int64_t(o.y) * w + o.x;
  const A* maps = weights + o.image * (h + w) * o.size;
  A sums[SHARE] = {};
  for (int t = 0; t < h + w; ++t) {
    const int64_t from = t < h ? int64_t(t) * w + o.x : int64_t(o.y) * w + (t - h);
    const A weight = maps[(t < h ? o.y : h + o.x) * o.size + from];
    if (weight == 0) continue;
    for (int k = 0; k < SHARE; ++k)
      if (o.first + k < channels) sums[k] += weight * A(x[start + k * o.size + from]);
  }
  for (int k = 0; k < SHARE; ++k)
    if (o.first + k < channels) out[start + k * o.size + pixel] = T(sums[k]);
}
