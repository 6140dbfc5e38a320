// What all kinds of regions share: how a call pools them, and where the bins of one lie.
#pragma once
#include "bilinear.cuh"

namespace regions {

// Of a call; a kind reads what it has use for.
template <class A> struct Pooling {
  int oh, ow;  // bins of a region
  A scale;     // from a region's coordinates to the map's
  int sampling;  // samples of a bin along an axis; 0: as many as it is pixels long
  bool aligned, clockwise;
  A gamma;          // how far offsets move bins, in regions' sizes
  const A* offset;  // (2, oh, ow) for each region, x first; or null
};

// The first bin's corner (a rotated region's centre), and a bin's height, width and samples along y and x.
template <class A> struct Frame { A y, x, bh, bw, gh, gw; };

template <class A> __device__ inline void count_samples(Frame<A>& f, A height, A width, const Pooling<A>& p) {
  f.bh = height / A(p.oh), f.bw = width / A(p.ow);
  f.gh = p.sampling > 0 ? A(p.sampling) : ceil(f.bh), f.gw = p.sampling > 0 ? A(p.sampling) : ceil(f.bw);
}

// Whether a region's numbers are finite and its batch index names an image.
template <class A> __device__ inline bool valid(const A* roi, int columns, int batch) {
  bool good = roi[0] > -1 && roi[0] < A(batch);
  for (int i = 0; i < columns; ++i) good = good && finite(roi[i]);
  return good;
}

}  // namespace regions
