// Greedy suppression of boxes in falling score, a tile of them a launch, without a mask in memory and without the host.
//
// A launch resolves its tile (which of its boxes are kept) in every block, then each thread takes one later box and
// strikes it out if a kept box of the tile overlaps it too much. Within the tile, rounds decide all boxes at once whose
// better overlapping boxes are decided; there are as many rounds as the longest chain of overlaps, which is short.
//
// A Box has `tile`, how many a launch takes (a multiple of 32), and its namespace a function above(box, box, threshold, extra),
// which tells whether their IoU exceeds the threshold.
#pragma once
#include "prelude.cuh"

namespace suppress {

constexpr int ALIVE = 0x7fffffff, LEFT_OUT = -1;

}  // namespace suppress

// For the k-th box by score: owner[k] is ALIVE, LEFT_OUT, or the rank of the kept box of an earlier tile that struck it;
// inside[k] that of the kept box of its own tile that did. ranks: those kept; kept_before: how many before each tile.
template <class Box, class A>
__global__ void __launch_bounds__(Box::tile) strike_tile(int n, int tile, const Box* boxes, const int64_t* labels, A threshold, A extra, int64_t most,
                            int* owner, int* inside, int64_t* kept_before, int64_t* ranks) {
  constexpr int TILE = Box::tile, WORDS = TILE / 32;
  const int start = tile * TILE, size = min(n - start, TILE), me = threadIdx.x, word = me / 32, lane = me % 32;
  __shared__ __align__(16) unsigned char memory[TILE * sizeof(Box)];
  __shared__ int64_t label[TILE];
  __shared__ unsigned kept[WORDS], open[WORDS];
  __shared__ int list[TILE], count;
  Box* const box = reinterpret_cast<Box*>(memory);
  const int64_t before = kept_before[tile];
  if (before >= most) {
    if (blockIdx.x == 0 && me == 0) kept_before[tile + 1] = before;
    return;
  }
  bool undecided = false, mine = false;
  if (me < size) {
    box[me] = boxes[start + me];
    label[me] = labels[start + me];
    undecided = owner[start + me] == suppress::ALIVE;
  }
  const unsigned alive = __ballot_sync(0xffffffffu, undecided);
  if (lane == 0) open[word] = alive, kept[word] = 0;
  __syncthreads();

  unsigned better[WORDS];  // those before me that overlap me too much
  for (int w = 0; w < WORDS; ++w) {
    better[w] = 0;
    if (!undecided || w > word) continue;
    for (unsigned bits = open[w]; bits; bits &= bits - 1) {
      const int b = __ffs(int(bits)) - 1, j = w * 32 + b;
      if (j < me && label[j] == label[me] && above(box[j], box[me], threshold, extra)) better[w] |= 1u << b;
    }
  }
  for (;;) {
    __syncthreads();  // all have read open
    bool waiting = false, struck = false;
    for (int w = 0; w < WORDS; ++w) {
      struck = struck || (better[w] & kept[w]);
      waiting = waiting || (better[w] & open[w]);
    }
    __syncthreads();  // all have read kept and open
    if (undecided && (struck || !waiting)) {
      mine = !struck;
      undecided = false;
    }
    const unsigned now_kept = __ballot_sync(0xffffffffu, mine), now_open = __ballot_sync(0xffffffffu, undecided);
    if (lane == 0) kept[word] = now_kept, open[word] = now_open;
    __syncthreads();
    unsigned any = 0;
    for (int w = 0; w < WORDS; ++w) any |= open[w];
    if (!any) break;
  }
  int earlier = 0;  // how many kept ones come before me
  for (int w = 0; w < word; ++w) earlier += __popc(kept[w]);
  earlier += __popc(kept[word] & ((1u << lane) - 1));
  mine = mine && before + earlier < most;
  if (mine) list[earlier] = me;
  if (me == TILE - 1) {
    const int64_t all = earlier + int(kept[word] >> lane & 1), room = most - before;
    count = int(all < room ? all : room);
  }
  __syncthreads();
  const int total = count;
  if (blockIdx.x == 0) {
    if (me == 0) kept_before[tile + 1] = before + total;
    if (mine) ranks[before + earlier] = start + me;
    for (int w = 0; w < WORDS && me < size; ++w)
      if (better[w] & kept[w]) {
        inside[start + me] = start + w * 32 + __ffs(int(better[w] & kept[w])) - 1;
        break;
      }
  }
  for (int64_t j = start + TILE + first(); j < n; j += stride()) {
    if (owner[j] != suppress::ALIVE) continue;
    const Box other = boxes[j];
    const int64_t own = labels[j];
    for (int k = 0; k < total; ++k)
      if (label[list[k]] == own && above(box[list[k]], other, threshold, extra)) {
        owner[j] = start + list[k];
        break;
      }
  }
}

namespace suppress {

// The integers that rise as scores fall; those left out (NaN; not above `least`, if filtered) come last.
template <class T, class Key>
__device__ Key falling_key(T score, acc_t<T> least, bool filtered) {
  using A = acc_t<T>;
  constexpr Key last = Key(~(uint64_t(1) << (8 * sizeof(Key) - 1)));
  const A s = A(score);
  if (s != s || (filtered && !(s > least))) return last;
  if (s == A(0)) return 0;
  Key bits;
  if constexpr (sizeof(A) == 4) bits = __float_as_int(s); else bits = __double_as_longlong(s);
  return bits < 0 ? bits & last : Key(-bits);  // the magnitude, negative for positive scores
}

}  // namespace suppress

template <class T, class Key>
__global__ void __launch_bounds__(256) score_keys(int64_t n, const T* scores, acc_t<T> least, bool filtered, Key* keys) {
  for (int64_t i = first(); i < n; i += stride()) keys[i] = suppress::falling_key<T, Key>(scores[i], least, filtered);
}

// Boxes as shapes; `extra` is what the kind of box takes (the offset of corners, the sense of angles).
template <class T, class Box, class A> __global__ void __launch_bounds__(256) shapes(int64_t n, const T* boxes, A extra, Box* out) {
  for (int64_t i = first(); i < n; i += stride()) out[i].load(boxes + Box::columns * i, extra);
}

template <class Box, class Key>
__global__ void __launch_bounds__(256) prepare(int64_t n, const Box* all, const int64_t* order, const Key* keys, bool labelled,
                        const int64_t* labels, Box* sorted, int64_t* sorted_labels, int* owner, int* inside) {
  constexpr Key last = Key(~(uint64_t(1) << (8 * sizeof(Key) - 1)));
  for (int64_t k = first(); k < n; k += stride()) {
    const int64_t i = order[k];
    sorted[k] = all[i];
    sorted_labels[k] = labelled ? labels[i] : 0;
    owner[k] = keys[i] == last ? suppress::LEFT_OUT : suppress::ALIVE;
    inside[k] = suppress::LEFT_OUT;
  }
}
