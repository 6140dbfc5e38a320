// Regions that grow from their kernels over a map, a ring of pixels at a time: one block, which serves pixels in the order of a
// queue. A place in the queue stands for the pixel there, and a pixel is reached from the first place beside it.
#include "loops.cuh"

constexpr int NOWHERE = 0x7fffffff;  // the place of a pixel that nothing has reached
constexpr int MEMBERS = 256;         // threads that sum a label's embeddings up

namespace growth {

// The label that counts: 0 for one out of range.
__device__ inline int label_of(const int* labels, int pixel, int count) {
  const int label = labels[pixel];
  return label > 0 && label < count ? label : 0;
}

// Calls visit(neighbour) for the pixels to the sides, above and below that lie in the map.
template <class Visit> __device__ inline void around(int pixel, int h, int w, Visit visit) {
  const int y = pixel / w, x = pixel - y * w;
  if (y > 0) visit(pixel - w);
  if (y + 1 < h) visit(pixel + w);
  if (x > 0) visit(pixel - 1);
  if (x + 1 < w) visit(pixel + 1);
}

// The sum of a number over the threads of the block before this one, and over all; all threads come.
__device__ inline int sum_before(int mine, int& total) {
  __shared__ int sums[32];
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  int sum = mine;
  for (int step = 1; step < WARP; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == WARP - 1) sums[warp] = sum;
  __syncthreads();
  sum -= mine, total = 0;
  for (int i = 0; i < warps; ++i) {
    if (i == warp) sum += total;
    total += sums[i];
  }
  __syncthreads();  // all have read the sums
  return sum;
}

// All rings, by the threads of one block. `queue` has room for all pixels; the first ring's are `seeds`. `taken(label, pixel)`
// tells whether a region takes a pixel.
template <class Taken> __device__ inline void grow(int h, int w, const int64_t* seeds, int end, bool* free, int* places, int* queue, int* out, Taken taken) {
  for (int i = threadIdx.x; i < end; i += blockDim.x) queue[i] = int(seeds[i]);
  __syncthreads();
  for (int start = 0; start < end;) {
    for (int i = start + threadIdx.x; i < end; i += blockDim.x) {
      const int label = out[queue[i]];
      around(queue[i], h, w, [&](int p) { if (free[p] && taken(label, p)) atomicMin(places + p, i); });
    }
    __syncthreads();
    const int ring = end;
    for (int first = start; first < ring; first += blockDim.x) {
      const int i = first + threadIdx.x;
      int reached = 0, total;
      if (i < ring) around(queue[i], h, w, [&](int p) { reached += places[p] == i; });
      int at = end + sum_before(reached, total);
      if (reached) {
        const int label = out[queue[i]];
        around(queue[i], h, w, [&](int p) { if (places[p] == i) free[p] = false, out[p] = label, queue[at++] = p; });
      }
      end += total;
    }
    __syncthreads();
    start = ring;
  }
}

}  // namespace growth

// The number of pixels of each label.
__global__ void __launch_bounds__(256) count_pixels(int n, const int* labels, int count, int* areas) {
  for (int64_t p = first(); p < n; p += stride()) {
    const int label = growth::label_of(labels, int(p), count);
    if (label > 0) atomicAdd(areas + label, 1);
  }
}

// Labels of at least `least` pixels into out; the others' pixels are free where the mask is.
__global__ void __launch_bounds__(256) begin(int n, const bool* mask, const int* labels, int count, const int* areas, int64_t least, int* out, bool* free, int* places) {
  for (int64_t p = first(); p < n; p += stride()) {
    int label = growth::label_of(labels, int(p), count);
    if (areas[label] < least) label = 0;
    out[p] = label;
    free[p] = label == 0 && mask[p];
    places[p] = NOWHERE;
  }
}

// Which pixels are of the first ring: labelled ones beside a free one, of `seeds` if `seeded`. 0 for those, so that they are
// the first in order, and their number.
__global__ void __launch_bounds__(256) first_ring(int h, int w, const int* out, const bool* free, bool seeded, const bool* seeds, int* others, int* count) {
  for (int64_t p = first(); p < int64_t(h) * w; p += stride()) {
    bool beside = false;
    if (out[p] != 0 && (!seeded || seeds[p])) growth::around(int(p), h, w, [&](int q) { beside |= free[q]; });
    others[p] = !beside;
    if (beside) atomicAdd(count, 1);
  }
}

__global__ void __launch_bounds__(1024) expand_all(int h, int w, const int64_t* seeds, const int* count, bool* free, int* places, int* queue, int* out) {
  growth::grow(h, w, seeds, *count, free, places, queue, out, [](int, int) { return true; });
}

template <class T>
__global__ void __launch_bounds__(1024) expand_alike(int h, int w, const int64_t* seeds, const int* count, bool* free, int* places, int* queue, int* out, int size, const T* embedding, const double* centers, double limit) {
  growth::grow(h, w, seeds, *count, free, places, queue, out, [&](int label, int pixel) {
    double distance = 0;
    for (int d = 0; d < size; ++d) {
      const double apart = centers[int64_t(label) * size + d] - double(acc_t<T>(embedding[int64_t(pixel) * size + d]));
      distance += apart * apart;
    }
    return distance < limit;
  });
}

// The mean embedding of each label's pixels, by a block each; `order` sorts the pixels by label.
template <class T>
__global__ void __launch_bounds__(MEMBERS) mean_embeddings(int n, int size, const T* embedding, const int* out, const int64_t* order, double* centers) {
  __shared__ double sums[MEMBERS];
  const int label = blockIdx.x;
  int bounds[2];
  for (int side = 0; side < 2; ++side) {  // where the labels below this one end, and this one
    int low = 0, high = n;
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (out[order[middle]] < label + side) low = middle + 1;
      else high = middle;
    }
    bounds[side] = low;
  }
  for (int d = 0; d < size; ++d) {
    double sum = 0;
    for (int64_t i = int64_t(bounds[0]) + threadIdx.x; i < bounds[1]; i += MEMBERS) sum += double(acc_t<T>(embedding[order[i] * size + d]));
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = MEMBERS / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == 0) centers[int64_t(label) * size + d] = sums[0] / (bounds[1] - bounds[0]);
    __syncthreads();
  }
}
