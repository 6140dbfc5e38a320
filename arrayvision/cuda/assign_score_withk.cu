// Sums of neighbours' features, weighted by scores: a thread a neighbour and CHANNELS features, which lie together.
#include "sums.cuh"

constexpr int CHANNELS = 8;  // of a thread

// Where a neighbour and its centre are among the clouds' points; whether both are points.
struct Pair {
  int64_t point, center;
  bool inside;
  __device__ Pair(int64_t e, int64_t per_cloud, int neighbours, int64_t points, const int64_t* index) {
    const int64_t n = index[e], c = index[e / neighbours * neighbours], first_point = e / per_cloud * points;
    inside = n >= 0 && n < points && c >= 0 && c < points;
    point = first_point + n, center = first_point + c;
  }
};

// n: batch * per_cloud, which is centres * neighbours. out (batch, channels, per_cloud).
template <class T> __global__ void __launch_bounds__(256) combine(int64_t n, int64_t per_cloud, int neighbours, int64_t points, int matrices, int channels, const T* scores, const T* features, const T* centers, const int64_t* index, T* out) {
  using A = acc_t<T>;
  const int64_t e = first();
  if (e >= n) return;
  const Pair pair(e, per_cloud, neighbours, points, index);
  for (int c = blockIdx.y * CHANNELS; c < channels; c += gridDim.y * CHANNELS) {
    A sum[CHANNELS] = {};
    for (int m = 0; pair.inside && m < matrices; ++m) {
      const A score = A(scores[e * matrices + m]);
      const T* const x = features + (pair.point * matrices + m) * channels;
      const T* const y = centers + (pair.center * matrices + m) * channels;
#pragma unroll
      for (int g = 0; g < CHANNELS; ++g)
        if (c + g < channels) sum[g] += score * (A(x[c + g]) - A(y[c + g]));
    }
#pragma unroll
    for (int g = 0; g < CHANNELS; ++g)
      if (c + g < channels) out[(e / per_cloud * channels + c + g) * per_cloud + e % per_cloud] = T(sum[g]);
  }
}

// n: batch * per_cloud * matrices, a score each.
template <class T> __global__ void __launch_bounds__(256) differentiate_scores(int64_t n, int64_t per_cloud, int neighbours, int64_t points, int matrices, int channels, const T* grad, const T* features, const T* centers, const int64_t* index, T* out) {
  using A = acc_t<T>;
  const int64_t t = first();
  if (t >= n) return;
  const int64_t e = t / matrices, m = t % matrices;
  const Pair pair(e, per_cloud, neighbours, points, index);
  A sum = 0;
  for (int c = 0; pair.inside && c < channels; ++c)
    sum += A(grad[(e / per_cloud * channels + c) * per_cloud + e % per_cloud]) *
           (A(features[(pair.point * matrices + m) * channels + c]) - A(centers[(pair.center * matrices + m) * channels + c]));
  out[t] = T(sum);
}

// Adds the gradients of features: a thread a neighbour; or, `in_order`, a cloud's matrix and channel, which goes through all
// neighbours. n: batch * per_cloud, or batch * matrices * channels.
template <class T> __global__ void __launch_bounds__(256) differentiate_features(int64_t n, bool in_order, int64_t per_cloud, int neighbours, int64_t points, int matrices, int channels, const T* grad, const T* scores, const int64_t* index, acc_t<T>* for_points, acc_t<T>* for_centers) {
  using A = acc_t<T>;
  const int64_t t = first(), own = int64_t(matrices) * channels;  // (matrix, channel) of a point
  if (t >= n) return;
  const int64_t cloud = in_order ? t / own : t / per_cloud;
  for (int64_t e = in_order ? cloud * per_cloud : t, last = in_order ? (cloud + 1) * per_cloud : t + 1; e < last; ++e) {
    const Pair pair(e, per_cloud, neighbours, points, index);
    if (!pair.inside) continue;
    for (int64_t k = in_order ? t % own : blockIdx.y; k < (in_order ? t % own + 1 : own); k += gridDim.y) {
      const A g = A(scores[e * matrices + k / channels]) * A(grad[(cloud * channels + k % channels) * per_cloud + e % per_cloud]);
      sums::add(for_points + pair.point * own + k, g, in_order);
      sums::add(for_centers + pair.center * own + k, -g, in_order);
    }
  }
}
