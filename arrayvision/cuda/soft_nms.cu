// Soft suppression of axis-aligned boxes: one block picks the best box, lowers the scores of those it overlaps, and so on.
#include "prelude.cuh"
#include "axis_aligned.cuh"

enum Method { NAIVE = 0, LINEAR = 1, GAUSSIAN = 2 };

constexpr int BLOCK = 1024;  // threads at most
constexpr unsigned ALL = 0xffffffffu;

// The greatest score, and the lowest index that has it; -1 for none.
template <class A> struct Best {
  A score;
  int index;
  __device__ void take(A s, int i) {
    if (i >= 0 && (index < 0 || s > score || (s == score && i < index))) score = s, index = i;
  }
  // Of a warp's lanes, in all of them.
  __device__ void of_warp() {
    for (int lane = WARP / 2; lane; lane /= 2) {
      const A s = __shfl_xor_sync(ALL, score, lane);
      const int i = __shfl_xor_sync(ALL, index, lane);
      take(s, i);
    }
  }
};

// A box that waits: its score falls as boxes are picked; -infinity once it is picked itself, and for NaN.
template <class A> struct Waiting { AxisAligned<A> box; A score; int64_t label; };

// PER boxes of a thread are in registers; for 0 they are in memory, `shapes` and `left`. A pick takes one barrier: a warp puts its best
// box into a slot, and all look through the slots.
template <class T, int PER>
__global__ void __launch_bounds__(BLOCK) soften(int n, const T* boxes, const T* scores, bool labelled, const int64_t* labels,
                       acc_t<T> threshold, acc_t<T> sigma, acc_t<T> least, int method, acc_t<T> offset,
                       AxisAligned<acc_t<T>>* shapes, acc_t<T>* left, int64_t* keep, acc_t<T>* decayed, int64_t* count) {
  using A = acc_t<T>;
  __shared__ __align__(16) unsigned char memory[2 * WARP * sizeof(Waiting<A>)];
  __shared__ int indices[2][WARP];
  Waiting<A>* const slots = reinterpret_cast<Waiting<A>*>(memory);
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  Waiting<A> own[PER ? PER : 1];
  Best<A> mine = {A(-INFINITY), -1};
  auto load = [&](int i) {
    Waiting<A> w;
    w.box.load(boxes + int64_t(4) * i, offset);
    const A s = A(scores[i]);
    w.score = s == s ? s : A(-INFINITY);
    w.label = labelled ? labels[i] : 0;
    if (w.score >= least) mine.take(w.score, i);
    return w;
  };
  if constexpr (PER > 0) {
#pragma unroll
    for (int k = 0; k < PER; ++k) {
      const int i = k * blockDim.x + threadIdx.x;
      if (i < n) own[k] = load(i);
      else own[k].score = -INFINITY;
    }
  } else {
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
      left[i] = load(i).score;
      shapes[i].load(boxes + int64_t(4) * i, offset);
    }
  }
  for (int64_t picked = 0;; ++picked) {
    const int turn = int(picked & 1) * WARP;
    mine.of_warp();
    if (mine.index < 0) {
      if (lane == 0) indices[turn / WARP][warp] = -1;
    } else if (mine.index % blockDim.x == threadIdx.x) {
      Waiting<A>& slot = slots[turn + warp];
      if constexpr (PER > 0) {
#pragma unroll
        for (int k = 0; k < PER; ++k)
          if (int(k * blockDim.x + threadIdx.x) == mine.index) slot = own[k];
      } else {
        slot.box = shapes[mine.index], slot.score = mine.score, slot.label = labelled ? labels[mine.index] : 0;
      }
      indices[turn / WARP][warp] = mine.index;
    }
    __syncthreads();
    const int its = lane < warps ? indices[turn / WARP][lane] : -1;
    mine = {its >= 0 ? slots[turn + lane].score : A(-INFINITY), its};
    mine.of_warp();
    const int best = mine.index;
    if (best < 0) {
      if (threadIdx.x == 0) *count = picked;
      return;
    }
    if (threadIdx.x == 0) keep[picked] = best, decayed[picked] = mine.score;
    const Waiting<A>& top = slots[turn + __ffs(int(__ballot_sync(ALL, its == best))) - 1];
    const AxisAligned<A> box = top.box;
    const int64_t label = top.label;
    mine = {A(-INFINITY), -1};
    // What is left of a score.
    auto lower = [&](const AxisAligned<A>& other, A s) {
      const A inter = box.shared_with(other, offset);
      if (!(inter > 0)) return s;
      const A iou = inter / (box.area + other.area - inter);
      if (method == GAUSSIAN) return iou == iou ? s * exp(-(iou * iou) / sigma) : s;
      return iou > threshold ? s * (method == LINEAR ? A(1) - iou : A(0)) : s;
    };
    if constexpr (PER > 0) {
#pragma unroll
      for (int k = 0; k < PER; ++k) {
        const int i = k * blockDim.x + threadIdx.x;
        if (i == best) own[k].score = -INFINITY;
        if (!(own[k].score >= least)) continue;
        if (!labelled || own[k].label == label) own[k].score = lower(own[k].box, own[k].score);
        if (own[k].score >= least) mine.take(own[k].score, i);
      }
    } else {
      for (int i = threadIdx.x; i < n; i += blockDim.x) {
        A s = left[i];
        if (i == best) left[i] = s = A(-INFINITY);
        if (!(s >= least)) continue;
        if (!labelled || labels[i] == label) left[i] = s = lower(shapes[i], s);
        if (s >= least) mine.take(s, i);
      }
    }
  }
}

// dets[k] = the box keep[k] and its picked score; inds[k] = keep[k].
template <class T>
__global__ void __launch_bounds__(256) take_picked(int64_t n, int width, const T* boxes, const acc_t<T>* picked, const int64_t* keep, T* dets, int64_t* inds) {
  const int64_t k = first();
  if (k >= n) return;
  const int64_t i = keep[k];
  for (int c = 0; c < width; ++c) dets[k * (width + 1) + c] = boxes[i * width + c];
  dets[k * (width + 1) + width] = T(picked[k]);
  inds[k] = i;
}
