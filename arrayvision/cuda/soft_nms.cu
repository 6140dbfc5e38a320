// Soft suppression of axis-aligned boxes: one block picks the best box, lowers the scores of those it overlaps, and so on.
#include "prelude.cuh"
#include "axis_aligned.cuh"

enum Method { NAIVE = 0, LINEAR = 1, GAUSSIAN = 2 };

template <class T>
__global__ void __launch_bounds__(1024) soften(int64_t n, const T* boxes, const T* scores, bool labelled, const int64_t* labels,
                       acc_t<T> threshold, acc_t<T> sigma, acc_t<T> least, int method, acc_t<T> offset,
                       AxisAligned<acc_t<T>>* shapes, acc_t<T>* left, int64_t* keep, acc_t<T>* decayed, int64_t* count) {
  using A = acc_t<T>;
  __shared__ A best_score[32];
  __shared__ int64_t best_index[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  A score = A(-INFINITY);  // the best of my boxes
  int64_t index = -1;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    shapes[i].load(boxes + 4 * i, offset);
    const A s = A(scores[i]);
    left[i] = s == s ? s : A(-INFINITY);
    if (left[i] >= least && (index < 0 || left[i] > score)) score = left[i], index = i;
  }
  for (int64_t picked = 0;; ++picked) {
    for (int o = 16; o > 0; o >>= 1) {
      const A other = __shfl_xor_sync(0xffffffffu, score, o);
      const int64_t its = __shfl_xor_sync(0xffffffffu, index, o);
      if (its >= 0 && (index < 0 || other > score || (other == score && its < index))) score = other, index = its;
    }
    if (lane == 0) best_score[warp] = score, best_index[warp] = index;
    __syncthreads();
    int64_t best = best_index[0];
    A top = best_score[0];
    for (int w = 1; w < warps; ++w) {
      const int64_t its = best_index[w];
      if (its >= 0 && (best < 0 || best_score[w] > top || (best_score[w] == top && its < best))) top = best_score[w], best = its;
    }
    __syncthreads();  // all have read the warps' bests
    if (best < 0) {
      if (threadIdx.x == 0) *count = picked;
      return;
    }
    if (threadIdx.x == 0) keep[picked] = best, decayed[picked] = top;
    const AxisAligned<A> box = shapes[best];
    const int64_t label = labelled ? labels[best] : 0;
    score = A(-INFINITY), index = -1;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      A s = left[i];
      if (i == best) {
        left[i] = s = A(-INFINITY);
      } else if (s >= least && (!labelled || labels[i] == label)) {
        const A inter = box.shared_with(shapes[i], offset);
        if (inter > 0) {
          const A iou = inter / (box.area + shapes[i].area - inter);
          if (method == GAUSSIAN) {
            if (iou == iou) s *= exp(-(iou * iou) / sigma);
          } else if (iou > threshold) {
            s *= method == LINEAR ? A(1) - iou : A(0);
          }
          left[i] = s;
        }
      }
      if (s >= least && (index < 0 || s > score)) score = s, index = i;
    }
  }
}

// dets[k] = the box keep[k] and its picked score; inds[k] = keep[k].
template <class T>
__global__ void __launch_bounds__(256) take_picked(int64_t n, int width, const T* boxes, const acc_t<T>* picked, const int64_t* keep, T* dets, int64_t* inds) {
  for (int64_t e = first(); e < n * (width + 1); e += stride()) {
    const int64_t k = e / (width + 1), i = keep[k];
    const int c = int(e % (width + 1));
    dets[e] = c < width ? boxes[i * width + c] : T(picked[k]);
    if (c == 0) inds[k] = i;
  }
}
