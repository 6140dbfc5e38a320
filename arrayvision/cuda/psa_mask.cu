// Attention masks over maps: a tile of 32 x 32 results a block, whose numbers lie askew in their source. They pass through
// shared memory, so that both are read and written along rows.
#include "prelude.cuh"

constexpr int TILE = 32;
constexpr int BLOCK = 256;

namespace masks {

// What a block does: the pixels (y, .) see the pixels (v, .), where row `row` of their masks lies.
struct Rows {
  int64_t image;
  int row, v, y, i, j;  // i and j: the tile's first row and column
  bool inside;
};

// Blocks are numbered by image, by `many` rows of the result, by y, and by tiles of `is` x `w`.
__device__ inline Rows rows(int many, bool by_seen, int is, int h, int w, int above, int height) {
  Rows o;
  int64_t b = blockIdx.x;
  const int across = (w + TILE - 1) / TILE, down = (is + TILE - 1) / TILE;
  o.j = int(b % across) * TILE, b /= across;
  o.i = int(b % down) * TILE, b /= down;
  o.y = int(b % h), b /= h;
  const int which = int(b % many);
  o.image = b / many;
  o.v = by_seen ? which : which + o.y - above;
  o.row = by_seen ? which - o.y + above : which;
  o.inside = o.row >= 0 && o.row < height && o.v >= 0 && o.v < h;
  return o;
}

}  // namespace masks

// The result, (N, H, W, H, W): row i is a pixel that is seen (collect) or one that sees, column j the other one.
template <class T, bool COLLECT>
__global__ void __launch_bounds__(BLOCK) lay(const T* x, int height, int width, int h, int w, T* out) {
  constexpr int PITCH = COLLECT ? TILE : TILE + 1;  // so that threads that go askew, or down, are in different banks
  __shared__ T tile[2 * TILE - 1][PITCH];
  const int above = (height - 1) / 2, before = (width - 1) / 2, lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
  const masks::Rows o = masks::rows(h, true, w, h, w, above, height);
  const int64_t size = int64_t(h) * w;
  const int first = (COLLECT ? o.i - o.j : o.j - o.i) + before - (TILE - 1), from = COLLECT ? o.j : o.i;
  if (o.inside) {
    const T* source = x + (o.image * height + o.row) * width * size + int64_t(o.y) * w;
    for (int k = line; k < 2 * TILE - 1; k += BLOCK / TILE) {
      const int m = first + k, pixel = from + lane;
      tile[k][lane] = m >= 0 && m < width && pixel < w ? source[m * size + pixel] : T(acc_t<T>(0));
    }
  }
  __syncthreads();
  T* const target = out + (COLLECT ? (o.image * h + o.v) * w * size + int64_t(o.y) * w : (o.image * h + o.y) * w * size + int64_t(o.v) * w);
  for (int k = line; k < TILE; k += BLOCK / TILE) {
    if (o.i + k >= w || o.j + lane >= w) continue;
    const T value = COLLECT ? tile[k - lane + TILE - 1][lane] : tile[lane - k + TILE - 1][k];
    target[(o.i + k) * size + o.j + lane] = o.inside ? value : T(acc_t<T>(0));
  }
}

// The masks' gradient, (N, height, width, H, W): row i is a mask's number, column j a pixel that sees.
template <class T, bool COLLECT>
__global__ void __launch_bounds__(BLOCK) take(const T* grad, int height, int width, int h, int w, T* out) {
  constexpr int PITCH = COLLECT ? TILE : TILE + 1;
  __shared__ T tile[COLLECT ? 2 * TILE - 1 : TILE][PITCH];
  const int above = (height - 1) / 2, before = (width - 1) / 2, lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
  const masks::Rows o = masks::rows(height, false, width, h, w, above, height);
  const int64_t size = int64_t(h) * w;
  if (o.inside) {
    const T* source = grad + (COLLECT ? (o.image * h + o.v) * w * size + int64_t(o.y) * w : (o.image * h + o.y) * w * size + int64_t(o.v) * w);
    for (int k = line; k < (COLLECT ? 2 * TILE - 1 : TILE); k += BLOCK / TILE) {
      // Seen pixels are rows here (collect), or the pixels that see are.
      const int row = COLLECT ? o.i + o.j - before + k : o.j + k, column = COLLECT ? o.j + lane : o.i + o.j + k - before + lane;
      tile[k][lane] = row >= 0 && row < w && column >= 0 && column < w ? source[row * size + column] : T(acc_t<T>(0));
    }
  }
  __syncthreads();
  T* const target = out + (o.image * height + o.row) * width * size + int64_t(o.y) * w;
  for (int k = line; k < TILE; k += BLOCK / TILE) {
    if (o.i + k >= width || o.j + lane >= w) continue;
    target[(o.i + k) * size + o.j + lane] = o.inside ? (COLLECT ? tile[k + lane][lane] : tile[lane][k]) : T(acc_t<T>(0));
  }
}
