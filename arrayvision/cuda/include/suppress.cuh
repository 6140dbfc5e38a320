// Greedy suppression of boxes in falling score, a band of them at a time, without an n x n mask and without the host.
//
// Three launches take a band of some thousand boxes. `find_overlaps` writes, for each of its boxes, which better ones of the band
// overlap it too much: a bit for each, in words of 64. `resolve_band`, a single block, goes through these words: a warp decides
// its 64 boxes, in a few rounds of ballots that decide every box whose better overlapping boxes are decided, and then every
// later warp strikes out those of its own that a kept one overlaps. `strike_later` compares the boxes behind the band with the
// band's kept ones.
//
// As many boxes as one block's memory holds are done by `suppress_few`, in one launch; some thousand are sorted by one block
// (`rank_few`), which writes for the rest what `score_keys`, a sort and `prepare` write for more.
//
// A Box has a Rough, what most comparisons ask of it, and the namespace of a Box has a function above(rough, rough, box, box,
// threshold, extra), which tells whether the IoU of two boxes exceeds the threshold.
#pragma once
#include "prelude.cuh"

namespace suppress {

constexpr int ALIVE = 0x7fffffff, LEFT_OUT = -1;
constexpr int WORD = 64;    // boxes whose bits are a word: a warp's in resolve_band
constexpr int WARPS = 32;   // of resolve_band, at most
constexpr int BLOCK = 128;  // boxes that a block compares with others, a thread each
constexpr int CHUNK = 128;  // kept boxes that a block of strike_later compares them with
constexpr int AHEAD = 4;    // words that resolve_band loads before it needs them
constexpr int FEW = 512;    // boxes of suppress_few, at most; LARGE_FEW, where one has more than LARGE bytes
constexpr int LARGE = 48;
constexpr int LARGE_FEW = 128;
constexpr int FEW_THREADS = 256;  // of suppress_few
constexpr int SORTED = 4096;      // boxes of rank_few, at most
constexpr int SORTERS = 1024;     // its threads

// An array in shared memory of boxes, which have constructors of their own kind.
template <class Box, int size> struct Held {
  __align__(16) unsigned char memory[size * sizeof(Box)];
  __device__ Box& operator[](int i) { return reinterpret_cast<Box*>(memory)[i]; }
};

__device__ inline uint64_t ballot(bool low, bool high) {
  const unsigned a = __ballot_sync(0xffffffffu, low), b = __ballot_sync(0xffffffffu, high);
  return uint64_t(b) << 32 | a;
}

// The largest of these Keys is of boxes that are left out.
template <class Key> __device__ constexpr Key last_key() { return Key(~(uint64_t(1) << (8 * sizeof(Key) - 1))); }

// The integers that rise as scores fall; those left out (NaN; not above `least`, if filtered) come last.
template <class T, class Key>
__device__ Key falling_key(T score, acc_t<T> least, bool filtered) {
  using A = acc_t<T>;
  const A s = A(score);
  if (s != s || (filtered && !(s > least))) return last_key<Key>();
  if (s == A(0)) return 0;
  Key bits;
  if constexpr (sizeof(A) == 4) bits = __float_as_int(s); else bits = __double_as_longlong(s);
  return bits < 0 ? bits & last_key<Key>() : Key(-bits);  // the magnitude, negative for positive scores
}

// Sort a block's `size` elements, a power of two, in shared memory: order(a, b, rising) puts the a-th and the b-th into order.
// Bitonic (K. E. Batcher, "Sorting networks and their applications", 1968). Pairs at most a warp apart lie in the 64 elements that
// are the same warp's in all such steps, so these need no barrier of the block. All threads come here.
template <class Order> __device__ inline void sort_shared(int size, Order order) {
  bool wide = true;  // what was written before is other warps'
  for (int run = 2; run <= size; run *= 2)
    for (int apart = run / 2; apart > 0; apart /= 2) {
      if (wide || apart > WARP) __syncthreads(); else __syncwarp();
      wide = apart > WARP;
      for (int pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
        const int a = (pair & ~(apart - 1)) * 2 + (pair & (apart - 1));
        order(a, a + apart, (a & run) == 0);
      }
    }
  __syncthreads();
}

// Of the boxes that are named by bits, those whose hulls touch mine. Threads of a warp then compare each its own, at a time, where
// boxes are costly to compare: a thread whose boxes lie apart would wait for its neighbours' at every one.
template <class Row, class Rough> __device__ inline unsigned touching(Row& row, int from, unsigned bits, const Rough& mine) {
  unsigned found = 0;
  for (; bits; bits &= bits - 1) {
    const int k = __ffs(int(bits)) - 1;
    if (!row[from + k].hull.apart(mine.hull)) found |= 1u << k;
  }
  return found;
}

// Which of a word's boxes are kept: a warp's lane has two of them, the lane-th and the 32nd after it, which are still `open`, or
// not, and the words of those that overlap these two too much and come before them.
__device__ inline uint64_t resolve_word(uint64_t low, uint64_t high, bool open[2], bool good[2]) {
  uint64_t decided = 0;  // and kept
  for (uint64_t waiting = ballot(open[0], open[1]); waiting; waiting = ballot(open[0], open[1])) {
    for (int c = 0; c < 2; ++c) {
      const uint64_t bits = c ? high : low;
      if (open[c] && ((bits & decided) || !(bits & waiting))) open[c] = false, good[c] = !(bits & decided);
    }
    decided |= ballot(good[0], good[1]);
  }
  return decided;
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
  __shared__ Held<typename Box::Rough, WORD> row;
  __shared__ int64_t label[WORD];
  __shared__ unsigned open[WORD / WARP];
  if (threadIdx.x < WORD) {
    const int i = start + top + threadIdx.x;
    bool alive = false;
    if (i < n && top + int(threadIdx.x) < size) {
      alive = owner[i] == ALIVE;
      row[threadIdx.x] = boxes[i].rough();
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
    const typename Box::Rough own_box = boxes[j].rough();
    const int64_t own = labelled ? labels[j] : 0;
    for (int w = 0; w < WORD / WARP; ++w) {
      const int before = mine - top - w * WARP;  // rows of these 32 that come before mine
      if (before <= 0) break;
      unsigned bits = before < WARP ? open[w] & ((1u << before) - 1) : open[w];
      if constexpr (Box::costly) bits = touching(row, w * WARP, bits, own_box);
      for (; bits; bits &= bits - 1) {
        const int k = w * WARP + __ffs(int(bits)) - 1;
        if ((!labelled || label[k] == own) && above(row[k], own_box, boxes[start + top + k], boxes[j], threshold, extra))
          found |= uint64_t(1) << k;
      }
    }
  }
  mask[int64_t(blockIdx.y) * size + mine] = int64_t(found);
}

// keep: the kept boxes, as `order` names them; ranks: the same by rank; total: how many are kept so far.
__global__ void __launch_bounds__(1024) resolve_band(int n, int band, int size, int64_t most, const int64_t* mask, const int64_t* order,
                              int* owner, int64_t* kept_before, int* ranks, int64_t* keep, int64_t* total) {
  using namespace suppress;
  __shared__ uint64_t kept[WARPS];
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, start = band * size;
  const int here = min(n - start, size), words = (here + WORD - 1) / WORD;
  const int64_t before = kept_before[band];
  if (before >= most) {
    if (threadIdx.x == 0) kept_before[band + 1] = *total = before;
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
        const uint64_t decided = resolve_word(low, high, open, good);
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
  if (threadIdx.x == 0) kept_before[band + 1] = *total = before + all < most ? before + all : most;
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
  __shared__ Held<typename Box::Rough, CHUNK> better;
  __shared__ int64_t label[CHUNK];
  __shared__ int rank[CHUNK];
  for (int k = threadIdx.x; k < some; k += BLOCK) {
    rank[k] = ranks[from + k];
    better[k] = boxes[rank[k]].rough();
    if (labelled) label[k] = labels[rank[k]];
  }
  __syncthreads();
  const int64_t j = int64_t(band + 1) * size + first();
  if (j >= n || atomicMin(owner + j, ALIVE) < rank[0]) return;  // left out, or struck by a better one; other blocks write too
  const typename Box::Rough mine = boxes[j].rough();
  const int64_t own = labelled ? labels[j] : 0;
  if constexpr (Box::costly) {
    for (int from = 0; from < some; from += WARP)
      for (unsigned bits = touching(better, from, some - from < WARP ? (1u << (some - from)) - 1 : 0xffffffffu, mine); bits; bits &= bits - 1) {
        const int k = from + __ffs(int(bits)) - 1;
        if ((!labelled || label[k] == own) && above(better[k], mine, boxes[rank[k]], boxes[j], threshold, extra)) {
          atomicMin(owner + j, rank[k]);
          return;
        }
      }
  } else {
    for (int k = 0; k < some; ++k)
      if ((!labelled || label[k] == own) && above(better[k], mine, boxes[rank[k]], boxes[j], threshold, extra)) {
        atomicMin(owner + j, rank[k]);
        break;
      }
  }
}

template <class T, class Key>
__global__ void __launch_bounds__(256) score_keys(int64_t n, const T* scores, acc_t<T> least, bool filtered, Key* keys) {
  const int64_t i = first();
  if (i < n) keys[i] = suppress::falling_key<T, Key>(scores[i], least, filtered);
}

// Boxes in the order of their scores; `extra` is what the kind of box takes (the offset of corners, the sense of angles).
template <class T, class Box, class Key, class A>
__global__ void __launch_bounds__(256) prepare(int64_t n, const T* boxes, A extra, const int64_t* order, const Key* keys, bool labelled,
                        const int64_t* labels, Box* sorted, int64_t* sorted_labels, int* owner, int64_t* kept_before) {
  const int64_t k = first();
  if (k >= n) return;
  if (k == 0) kept_before[0] = 0;
  const int64_t i = order[k];
  sorted[k].load(boxes + Box::columns * i, extra);
  if (labelled) sorted_labels[k] = labels[i];
  owner[k] = keys[i] == suppress::last_key<Key>() ? suppress::LEFT_OUT : suppress::ALIVE;
}

// The same with the order and kept_before[0], of so few boxes that one block sorts them: by key, then by index.
template <class T, class Box, class A>
__global__ void __launch_bounds__(suppress::SORTERS) rank_few(int n, const T* boxes, A extra, const T* scores, acc_t<T> least, bool filtered, bool labelled,
                        const int64_t* labels, int64_t* order, Box* sorted, int64_t* sorted_labels, int* owner, int64_t* kept_before) {
  using namespace suppress;
  __shared__ uint64_t keys[SORTED];  // a score's key, as a number that isn't negative, and the index
  const int mine = threadIdx.x;
  int size = 2;
  while (size < n) size *= 2;
  for (int k = mine; k < size; k += SORTERS) {
    const int key = k < n ? falling_key<T, int>(scores[k], least, filtered) : last_key<int>();
    keys[k] = uint64_t(unsigned(key) ^ 0x80000000u) << 32 | unsigned(k);
  }
  if (mine == 0) kept_before[0] = 0;
  sort_shared(size, [&](int a, int b, bool rising) {
    const uint64_t p = keys[a], q = keys[b];
    if ((p > q) == rising) keys[a] = q, keys[b] = p;
  });
  for (int k = mine; k < n; k += SORTERS) {
    const int i = int(unsigned(keys[k]));
    order[k] = i;
    sorted[k].load(boxes + int64_t(Box::columns) * i, extra);
    if (labelled) sorted_labels[k] = labels[i];
    owner[k] = unsigned(keys[k] >> 32) == unsigned(-1) ? LEFT_OUT : ALIVE;
  }
}

namespace suppress {

template <class Box> constexpr int few_of() { return sizeof(Box) > LARGE ? LARGE_FEW : FEW; }

}  // namespace suppress

// All of it in one block: keep[k] for the k-th kept box, and how many are.
template <class T, class Box, class Key, class A>
__global__ void __launch_bounds__(suppress::FEW_THREADS) suppress_few(int n, const T* boxes, A sense, const T* scores, acc_t<T> least, bool filtered, bool labelled,
                        const int64_t* labels, A threshold, A extra, int64_t most, int64_t* keep, int64_t* count) {
  using namespace suppress;
  constexpr int SIZE = few_of<Box>();
  __shared__ Held<Box, SIZE> box;
  __shared__ Key key[SIZE];
  __shared__ int index[SIZE];
  __shared__ int64_t label[SIZE];
  __shared__ bool alive[SIZE];
  __shared__ uint64_t better[WORD];  // of a word's boxes, those of the word that overlap it too much and come before it
  __shared__ uint64_t kept;          // of the word
  __shared__ int64_t found;          // kept before
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
  int size = WORD;  // a power of two
  while (size < n) size *= 2;
  for (int k = threadIdx.x; k < size; k += blockDim.x) {
    key[k] = k < n ? falling_key<T, Key>(scores[k], least, filtered) : last_key<Key>();
    index[k] = k;
  }
  if (threadIdx.x == 0) found = 0;
  sort_shared(size, [&](int a, int b, bool rising) {
    const Key p = key[a], q = key[b];
    const int i = index[a], j = index[b];
    if ((p > q || (p == q && i > j)) == rising) key[a] = q, key[b] = p, index[a] = j, index[b] = i;
  });
  for (int k = threadIdx.x; k < size; k += blockDim.x) {
    alive[k] = key[k] != last_key<Key>();
    if (!alive[k]) continue;
    box[k].load(boxes + Box::columns * index[k], sense);
    if (labelled) label[k] = labels[index[k]];
  }
  __syncthreads();
  for (int top = 0; top < n; top += WORD) {
    // A warp compares a box with the word's, a lane two of these: first those of the word, then those after it with the kept.
    for (int after = 0; after < 2; ++after) {
      const int from = top + after * WORD, to = after ? n : from + WORD;
      const uint64_t rows = after ? kept : ~uint64_t(0);
      for (int at = from + warp; at < to; at += warps) {
        bool over[2] = {false, false};
        if (alive[at])
          for (int c = 0; c < 2; ++c) {
            const int k = c * WARP + lane, row = top + k;
            if (row < at && rows >> k & 1 && alive[row])
              over[c] = (!labelled || label[row] == label[at]) &&
                        above(box[row].rough(), box[at].rough(), box[row], box[at], threshold, extra);
          }
        const uint64_t bits = ballot(over[0], over[1]);
        if (lane > 0) continue;
        if (!after) better[at - top] = bits;
        else if (bits) alive[at] = false;
      }
      __syncthreads();
      if (after) break;
      if (warp == 0) {
        bool open[2] = {alive[top + lane], alive[top + WARP + lane]}, good[2] = {false, false};
        const uint64_t chosen = resolve_word(better[lane], better[WARP + lane], open, good);
        const int64_t before = found;
        for (int c = 0; c < 2; ++c) {
          const int64_t at = before + __popcll(chosen & ((uint64_t(1) << (c * WARP + lane)) - 1));
          if (good[c] && at < most) keep[at] = index[top + c * WARP + lane];
        }
        __syncwarp();
        if (lane == 0) kept = chosen, found = before + __popcll(chosen);
      }
      __syncthreads();
      if (found >= most) break;
    }
    if (found >= most) break;
  }
  if (threadIdx.x == 0) *count = found < most ? found : most;
}
