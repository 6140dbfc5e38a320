// Greedy suppression of boxes in falling score, a band of them at a time, without an n x n mask and without the host.
//
// Three launches take a band of some thousand boxes. `find_overlaps` writes, for each of its boxes, which better ones of the band
// overlap it too much: a bit for each, in words of 64. `resolve_band`, a single block, goes through these words: a warp decides
// its 64 boxes, in a few rounds of ballots that decide every box whose better overlapping boxes are decided, and then every
// later warp strikes out those of its own that a kept one overlaps. `strike_later` compares the boxes behind the band with the
// band's kept ones.
//
// The namespace of a Box has a function above(box, box, threshold, extra), which tells whether their IoU exceeds the threshold.
#pragma once
#include "prelude.cuh"

namespace suppress {

constexpr int ALIVE = 0x7fffffff, LEFT_OUT = -1;
constexpr int WORD = 64;    // boxes whose bits are a word: a warp's in resolve_band
constexpr int WARPS = 32;   // of resolve_band, at most
constexpr int BLOCK = 128;  // boxes that a block compares with others, a thread each
constexpr int CHUNK = 128;  // kept boxes that a block of strike_later compares them with
constexpr int AHEAD = 4;    // words that resolve_band loads before it needs them

// An array in shared memory of boxes, which have constructors of their own kind.
template <class Box, int size> struct Held {
  __align__(16) unsigned char memory[size * sizeof(Box)];
  __device__ Box& operator[](int i) { return reinterpret_cast<Box*>(memory)[i]; }
};

__device__ inline uint64_t ballot(bool low, bool high) {
  const unsigned a = __ballot_sync(0xffffffffu, low), b = __ballot_sync(0xffffffffu, high);
  return uint64_t(b) << 32 | a;
}

}  // namespace suppress

// For the k-th box by score, owner[k] is ALIVE, LEFT_OUT, or the rank of the kept box that struck it: of all those that overlap
// it too much the best. kept_before: how many are kept before each band.

// mask[w * band + j]: which of the band's boxes WORD * w and on overlap its j-th one too much, and come before it.
template <class Box, class A>
__global__ void __launch_bounds__(suppress::BLOCK) find_overlaps(int n, int band, int size, const Box* boxes, bool labelled, const int64_t* labels, A threshold, A extra,
                              int64_t most, const int* owner, const int64_t* kept_before, int64_t* mask) {
  using namespace suppress;
  const int top = blockIdx.y * WORD, mine = blockIdx.x * BLOCK + threadIdx.x, start = band * size;
  if (top >= int(blockIdx.x + 1) * BLOCK || kept_before[band] >= most) return;
  __shared__ Held<Box, WORD> row;
  __shared__ int64_t label[WORD];
  __shared__ unsigned open[WORD / WARP];
  if (threadIdx.x < WORD) {
    const int i = start + top + threadIdx.x;
    bool alive = false;
    if (i < n && top + int(threadIdx.x) < size) {
      alive = owner[i] == ALIVE;
      row[threadIdx.x] = boxes[i];
      if (labelled) label[threadIdx.x] = labels[i];
    }
    const unsigned all = __ballot_sync(0xffffffffu, alive);
    if (threadIdx.x % WARP == 0) open[threadIdx.x / WARP] = all;
  }
  __syncthreads();
  const int j = start + mine;
  if (mine >= size || j >= n) return;
  uint64_t found = 0;
  if (owner[j] == ALIVE) {
    const Box box = boxes[j];
    const int64_t own = labelled ? labels[j] : 0;
    for (int w = 0; w < WORD / WARP; ++w) {
      const int before = mine - top - w * WARP;  // rows of these 32 that come before mine
      if (before <= 0) break;
      for (unsigned bits = before < WARP ? open[w] & ((1u << before) - 1) : open[w]; bits; bits &= bits - 1) {
        const int k = w * WARP + __ffs(int(bits)) - 1;
        if ((!labelled || label[k] == own) && above(row[k], box, threshold, extra)) found |= uint64_t(1) << k;
      }
    }
  }
  mask[int64_t(blockIdx.y) * size + mine] = int64_t(found);
}

// keep: the kept boxes, as `order` names them; ranks: the same by rank.
__global__ void __launch_bounds__(1024) resolve_band(int n, int band, int size, int64_t most, const int64_t* mask, const int64_t* order,
                              int* owner, int64_t* kept_before, int* ranks, int64_t* keep) {
  using namespace suppress;
  __shared__ uint64_t kept[WARPS];
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, start = band * size;
  const int here = min(n - start, size), words = (here + WORD - 1) / WORD;
  const int64_t before = kept_before[band];
  if (before >= most) {
    if (threadIdx.x == 0) kept_before[band + 1] = before;
    return;
  }
  // A lane has two boxes of its warp's 64.
  const int mine[2] = {warp * WORD + lane, warp * WORD + WARP + lane};
  bool open[2], good[2] = {false, false};
  int by[2] = {LEFT_OUT, LEFT_OUT};
  for (int c = 0; c < 2; ++c) open[c] = mine[c] < here && owner[start + mine[c]] == ALIVE;
  for (int first = 0; first < words; first += AHEAD) {
    uint64_t better[AHEAD][2];
    for (int q = 0; q < AHEAD; ++q)
      for (int c = 0; c < 2; ++c) better[q][c] = open[c] && first + q <= warp ? uint64_t(mask[int64_t(first + q) * size + mine[c]]) : 0;
    for (int q = 0; q < AHEAD; ++q) {
      const int w = first + q;
      if (w >= words) break;
      if (warp == w) {
        const uint64_t low = better[q][0], high = better[q][1];
        uint64_t decided = 0;  // and kept
        for (uint64_t waiting = ballot(open[0], open[1]); waiting; waiting = ballot(open[0], open[1])) {
          for (int c = 0; c < 2; ++c) {
            const uint64_t bits = c ? high : low;
            if (open[c] && ((bits & decided) || !(bits & waiting))) open[c] = false, good[c] = !(bits & decided);
          }
          decided |= ballot(good[0], good[1]);
        }
        for (int c = 0; c < 2; ++c) {
          const uint64_t bits = (c ? high : low) & decided;
          if (bits && by[c] == LEFT_OUT) by[c] = start + w * WORD + __ffsll((long long)bits) - 1;
        }
        if (lane == 0) kept[w] = decided;
      }
      __syncthreads();
      for (int c = 0; c < 2; ++c)
        if (warp > w && open[c] && (better[q][c] & kept[w])) {
          open[c] = false;
          by[c] = start + w * WORD + __ffsll((long long)(better[q][c] & kept[w])) - 1;
        }
    }
  }
  const int count = lane < words ? __popcll(kept[lane]) : 0;
  int all = count, earlier = lane < warp ? count : 0;
  for (int o = WARP / 2; o > 0; o /= 2) {
    all += __shfl_xor_sync(0xffffffffu, all, o);
    earlier += __shfl_xor_sync(0xffffffffu, earlier, o);
  }
  if (threadIdx.x == 0) kept_before[band + 1] = before + all < most ? before + all : most;
  for (int c = 0; c < 2; ++c) {
    if (by[c] != LEFT_OUT) owner[start + mine[c]] = by[c];
    if (!good[c]) continue;
    const int64_t at = before + earlier + __popcll(kept[warp] & ((uint64_t(1) << (c * WARP + lane)) - 1));
    if (at < most) ranks[at] = start + mine[c], keep[at] = order[start + mine[c]];
  }
}

template <class Box, class A>
__global__ void __launch_bounds__(suppress::BLOCK) strike_later(int n, int band, int size, const Box* boxes, bool labelled, const int64_t* labels, A threshold, A extra,
                             int64_t most, const int64_t* kept_before, const int* ranks, int* owner) {
  using namespace suppress;
  const int64_t from = kept_before[band] + int64_t(blockIdx.y) * CHUNK, to = kept_before[band + 1];
  if (from >= to || to >= most) return;
  const int some = int(to - from < CHUNK ? to - from : CHUNK);
  __shared__ Held<Box, CHUNK> better;
  __shared__ int64_t label[CHUNK];
  __shared__ int rank[CHUNK];
  for (int k = threadIdx.x; k < some; k += BLOCK) {
    rank[k] = ranks[from + k];
    better[k] = boxes[rank[k]];
    if (labelled) label[k] = labels[rank[k]];
  }
  __syncthreads();
  const int64_t j = int64_t(band + 1) * size + first();
  if (j >= n || atomicMin(owner + j, ALIVE) < rank[0]) return;  // left out, or struck by a better one; other blocks write too
  const Box box = boxes[j];
  const int64_t own = labelled ? labels[j] : 0;
  for (int k = 0; k < some; ++k)
    if ((!labelled || label[k] == own) && above(better[k], box, threshold, extra)) {
      atomicMin(owner + j, rank[k]);
      break;
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
  const int64_t i = first();
  if (i < n) keys[i] = suppress::falling_key<T, Key>(scores[i], least, filtered);
}

// Boxes in the order of their scores; `extra` is what the kind of box takes (the offset of corners, the sense of angles).
template <class T, class Box, class Key, class A>
__global__ void __launch_bounds__(256) prepare(int64_t n, const T* boxes, A extra, const int64_t* order, const Key* keys, bool labelled,
                        const int64_t* labels, Box* sorted, int64_t* sorted_labels, int* owner) {
  constexpr Key last = Key(~(uint64_t(1) << (8 * sizeof(Key) - 1)));
  const int64_t k = first();
  if (k >= n) return;
  const int64_t i = order[k];
  sorted[k].load(boxes + Box::columns * i, extra);
  if (labelled) sorted_labels[k] = labels[i];
  owner[k] = keys[i] == last ? suppress::LEFT_OUT : suppress::ALIVE;
}
