// Rotation-invariant RoIAlign: rotated bins (roi_bins.cuh) of two channels each, by the region's angle.
#include "region_rotated.cuh"
#include "sums.cuh"

// The two channels that channel c takes, and the second one's share.
template <class A> __device__ inline void turned(A angle, int c, int orientations, int& p, int& q, A& share) {
  const A turns = angle * A(orientations) / A(6.283185307179586476925), whole = floor(turns);
  share = turns - whole;
  const int shift = int(fmod(whole, A(orientations))), group = c / orientations * orientations;
  p = group + ((c - group - shift) % orientations + orientations) % orientations;
  q = group + (p - group + 1) % orientations;
}

template <class T>
__global__ void __launch_bounds__(256) pool_turned(int64_t n, const T* x, bool last, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, int orientations, bool clockwise, T* out) {
  using A = acc_t<T>;
  const int bins = oh * ow;
  for (int64_t t = first(); t < n; t += stride()) {
    const int c = int(last ? t % channels : t / bins % channels), bin = int(last ? t / channels % bins : t % bins);
    const int64_t k = t / channels / bins, size = int64_t(h) * w, along = last ? 1 : size, pixel = last ? channels : 1;
    const A* roi = rois + k * 6;
    const bool good = regions::valid(roi, 6, batch);
    A sum = 0, share = 0;
    int p = 0, q = 0;
    if (good) {
      turned(roi[5], c, orientations, p, q, share);
      const T* source = x + int64_t(roi[0]) * channels * size;
      regions::Rotated::visit(roi, regions::Pooling<A>{oh, ow, scale, sampling, false, clockwise}, k, bin / ow, bin % ow, h, w, [&](int r, int s, A weight) {
        const int64_t at = (int64_t(r) * w + s) * pixel;
        sum += weight * ((1 - share) * A(source[p * along + at]) + share * A(source[q * along + at]));
      });
    }
    out[(k * channels + c) * bins + bin] = T(good ? sum : A(NAN));
  }
}

// A thread holds one number of the gradient; or, `in_order`, an image's group of channels.
template <class T>
__global__ void __launch_bounds__(256) spread_turned(int64_t n, int64_t regions, bool in_order, const T* grad, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, int orientations, bool clockwise, acc_t<T>* out) {
  using A = acc_t<T>;
  const int bins = oh * ow, groups = channels / orientations;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t begin = in_order ? 0 : t / bins / channels, end = in_order ? regions : begin + 1;
    for (int64_t k = begin; k < end; ++k) {
      const A* roi = rois + k * 6;
      if (!regions::valid(roi, 6, batch) || (in_order && int64_t(roi[0]) != t / groups)) continue;
      A* const image = out + int64_t(roi[0]) * channels * h * w;
      const int low = in_order ? int(t % groups) * orientations : int(t / bins % channels);
      for (int c = low; c < (in_order ? low + orientations : low + 1); ++c)
        for (int bin = in_order ? 0 : int(t % bins); bin < (in_order ? bins : int(t % bins) + 1); ++bin) {
          int p, q;
          A share;
          turned(roi[5], c, orientations, p, q, share);
          const A g = A(grad[(k * channels + c) * bins + bin]);
          regions::Rotated::visit(roi, regions::Pooling<A>{oh, ow, scale, sampling, false, clockwise}, k, bin / ow, bin % ow, h, w, [&](int r, int s, A weight) {
            A *a = image + (int64_t(p) * h + r) * w + s, *b = image + (int64_t(q) * h + r) * w + s;
            sums::add(a, g * weight * (1 - share), in_order);
            sums::add(b, g * weight * share, in_order);
          });
        }
    }
  }
}
