// RoIAlign: averages (roi_bins.cuh) and maxima over grids of bilinear samples.
#include "maxima_in_order.cuh"
#include "region_align.cuh"
#include "roi_bins.cuh"
#include "roi_upright.cuh"

// Samples along one axis are numbered modulo this: more than lie inside the map at once, so it is one number for one sample,
// and one that fits an int. It says nothing of where the border lies, which back ends may round differently.
template <class A> __device__ inline int64_t period(A g, int length) { return int64_t(g <= A(1024) ? g : min(g, 2 * A(length) + 8)); }

// `which` is the number of the greatest sample, -1 for one outside the map, or none.
template <class T>
__global__ void __launch_bounds__(256) pool_max(uint32_t n, uint64_t by_bins, uint64_t by_groups, const T* x, bool last, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, T* out, int* which) {
  using A = acc_t<T>;
  const uint32_t t = loops::thread<uint32_t>();
  if (t >= n) return;
  const roi_bins::Task task(t, last, by_bins, by_groups);
  const A* roi = rois + task.k * 5;
  const bool good = regions::valid(roi, 5, batch);
  const int64_t image = good ? int64_t(roi[0]) : 0, size = int64_t(h) * w, pixel = last ? channels : 1, along = last ? 1 : size;
  const regions::Frame<A> o = regions::Align::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned});
  const A top = o.y + A(task.bin / ow) * o.bh, left = o.x + A(task.bin % ow) * o.bw;
  A from_y, from_x, fy, fx;
  int yl, yh, xl, xh;
  const int ny = bilinear::sample_range(top, o.bh, o.gh, A(-1), A(h), from_y), nx = bilinear::sample_range(left, o.bw, o.gw, A(-1), A(w), from_x);
  const bool some = o.gh > 0 && o.gw > 0;
  const int64_t rows = ny > 0 ? period(o.gh, h) : 1, columns = nx > 0 ? period(o.gw, w) : 1;
  const int64_t first_y = int64_t(fmod(from_y, A(rows))), first_x = int64_t(fmod(from_x, A(columns)));
  for (int g = 0; g < roi_bins::CHANNELS; ++g) {
    const int c = task.c + g * task.step;
    if (c >= channels) break;
    const T* const source = x + image * channels * size + c * along;
    A best = some ? A(-INFINITY) : A(0);
    int64_t number = -1, inside = 0;
    for (int u = 0; good && some && u < ny; ++u) {
      if (!bilinear::neighbours(top + (from_y + A(u) + A(0.5)) * o.bh / o.gh, h, yl, yh, fy)) continue;
      for (int v = 0; v < nx; ++v) {
        if (!bilinear::neighbours(left + (from_x + A(v) + A(0.5)) * o.bw / o.gw, w, xl, xh, fx)) continue;
        ++inside;
        const A value = (1 - fy) * ((1 - fx) * A(source[(int64_t(yl) * w + xl) * pixel]) + fx * A(source[(int64_t(yl) * w + xh) * pixel])) +
                        fy * ((1 - fx) * A(source[(int64_t(yh) * w + xl) * pixel]) + fx * A(source[(int64_t(yh) * w + xh) * pixel]));
        if (!(value <= best) && best == best) best = value, number = (first_y + u) % rows * columns + (first_x + v) % columns;
      }
    }
    if (some && A(inside) < o.gh * o.gw && best < 0) best = 0, number = -1;
    const int64_t result = (task.k * channels + c) * oh * ow + task.bin;
    out[result] = T(good ? best : A(NAN));
    which[result] = good ? int(number) : -1;
  }
}

// For the rows of a region's bins and for its columns: the samples inside the map, one behind the other, and the range of each bin.
template <class A> struct MapSample { int low, high, number; A share; };
template <class A> struct MapSamples {
  MapSample<A>* const list;
  roi_upright::Range* const ranges;  // of rows, then of columns
  const int rows, room;  // how many entries the rows' samples have room for, and all

  __device__ MapSamples(unsigned char* memory, int rows, int room)
      : list(reinterpret_cast<MapSample<A>*>(memory)), ranges(reinterpret_cast<roi_upright::Range*>(list + room)), rows(rows), room(room) {}

  // f(sample's number, pixels and share) for those of a row or column of bins that lie inside.
  template <class F> static __device__ void each(const regions::Frame<A>& o, bool row, int i, int length, F&& f) {
    const A size = row ? o.bh : o.bw, g = row ? o.gh : o.gw, start = (row ? o.y : o.x) + A(i) * size;
    A from, share;
    int low, high;
    const int n = bilinear::sample_range(start, size, g, A(-1), A(length), from);
    const int64_t modulo = n > 0 ? period(g, length) : 1, begin = int64_t(fmod(from, A(modulo)));
    for (int u = 0; u < n; ++u)
      if (bilinear::neighbours(start + (from + A(u) + A(0.5)) * size / g, length, low, high, share)) f(int((begin + u) % modulo), low, high, share);
  }
  // All threads of the block come here.
  __device__ void fill(const regions::Frame<A>& o, bool good, int oh, int ow, int h, int w) const {
    for (int b = threadIdx.x; good && b < oh + ow; b += roi_last::BLOCK) {
      int count = 0;
      each(o, b < oh, b < oh ? b : b - oh, b < oh ? h : w, [&](int, int, int, A) { ++count; });
      ranges[b].count = count;
    }
    __syncthreads();
    for (int b = threadIdx.x; good && b < oh + ow; b += roi_last::BLOCK) {
      int at = b < oh ? 0 : rows;
      for (int k = b < oh ? 0 : oh; k < b; ++k) at += ranges[k].count;
      ranges[b].start = at;
      each(o, b < oh, b < oh ? b : b - oh, b < oh ? h : w, [&](int number, int low, int high, A share) {
        if (at < room) list[at++] = {low, high, number, share};
      });
    }
    __syncthreads();
  }
};

// The same as pool_max for x (B, H, W, C), V channels a load (roi_last.cuh).
template <class T, int V>
__global__ void __launch_bounds__(256) pool_max_last(uint64_t by_columns, int row_room, int room, const T* x, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, T* out, int* which) {
  using A = acc_t<T>;
  constexpr int BINS = 32;
  DYNAMIC_SHARED(unsigned char, memory);
  __shared__ __align__(8) unsigned char turned[roi_last::Tile<T, BINS>::BYTES], numbers[roi_last::Tile<int, BINS>::BYTES];
  const roi_last::Tile<T, BINS> tile(turned);
  const roi_last::Tile<int, BINS> numbered(numbers);
  const A* const roi = rois + int64_t(blockIdx.x) * 5;
  const bool good = regions::valid(roi, 5, batch);
  const regions::Frame<A> o = regions::Align::frame(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned});
  const MapSamples<A> samples(memory, row_room, room);
  samples.fill(o, good, oh, ow, h, w);
  const bool some = o.gh > 0 && o.gw > 0;
  const int modulo = some ? int(period(o.gw, w)) : 1;
  const int c0 = blockIdx.y * roi_last::CHANNELS, mine = min(roi_last::CHANNELS, channels - c0), bins = oh * ow;
  const roi_last::Lanes<V> own;
  const T* const source = x + (good ? int64_t(roi[0]) * h * w * channels : 0) + c0 + own.lane * V;
  const int64_t first_result = (int64_t(blockIdx.x) * channels + c0) * bins;
  roi_last::by_tiles<BINS>(
    own, mine, bins, by_columns,
    [&](uint32_t i, uint32_t j, int b) {
      A best[V];
      int number[V];
      for (int v = 0; v < V; ++v) best[v] = !good ? A(NAN) : some ? A(-INFINITY) : A(0), number[v] = -1;
      if (good && some) {
        const roi_upright::Range down = samples.ranges[i], along = samples.ranges[oh + j];
        for (int a = 0; a < down.count; ++a) {
          const MapSample<A> row = samples.list[down.start + a];
          const T *const low = source + int64_t(row.low) * w * channels, *const high = source + int64_t(row.high) * w * channels;
          for (int q = 0; q < along.count; ++q) {
            const MapSample<A> column = samples.list[along.start + q];
            const int64_t left = int64_t(column.low) * channels, right = int64_t(column.high) * channels;
            const Channels<T, V> corners[4] = {
                *reinterpret_cast<const Channels<T, V>*>(low + left), *reinterpret_cast<const Channels<T, V>*>(low + right),
                *reinterpret_cast<const Channels<T, V>*>(high + left), *reinterpret_cast<const Channels<T, V>*>(high + right)};
            const int its = int(unsigned(row.number) * unsigned(modulo) + unsigned(column.number));
            const A fy = row.share, fx = column.share;
            for (int v = 0; v < V; ++v) {
              const A value = (1 - fy) * ((1 - fx) * A(corners[0].at[v]) + fx * A(corners[1].at[v])) +
                              fy * ((1 - fx) * A(corners[2].at[v]) + fx * A(corners[3].at[v]));
              if (!(value <= best[v]) && best[v] == best[v]) best[v] = value, number[v] = its;
            }
          }
        }
        if (A(int64_t(down.count) * along.count) < o.gh * o.gw)
          for (int v = 0; v < V; ++v)
            if (best[v] < 0) best[v] = 0, number[v] = -1;
      }
      for (int v = 0; v < V; ++v) tile(own.lane * V + v, b) = T(best[v]), numbered(own.lane * V + v, b) = number[v];
    },
    [&](int start, int here) {
      tile.write(mine, here, bins, out + first_result + start);
      numbered.write(mine, here, bins, which + first_result + start);
    });
}

// A region's maxima, for their gradient.
template <class A> struct ChosenSamples {
  static constexpr int columns = 5;
  // Of a row of bins and of a column: the first sample inside, its number, how many there are, and after how many numbers start over.
  struct Axis { A start, from; int number, count, period; };
  struct Bin { int i, j; Axis rows, columns; };

  regions::Frame<A> o;
  int h, w;

  __device__ ChosenSamples(const A* roi, const regions::Pooling<A>& pooling, int h, int w) : o(regions::Align::frame(roi, pooling)), h(h), w(w) {}

  static __device__ Axis axis(A start, A size, A g, int length) {
    Axis its;
    its.start = start, its.count = bilinear::sample_range(start, size, g, A(-1), A(length), its.from);
    its.period = its.count > 0 ? int(period(g, length)) : 1;
    its.number = its.count > 0 ? int(fmod(its.from, A(its.period))) : 0;
    return its;
  }
  __device__ Bin bin(int i, int j) const {
    return {i, j, axis(o.y + A(i) * o.bh, o.bh, o.gh, h), axis(o.x + A(j) * o.bw, o.bw, o.gw, w)};
  }
  // The pixels below and above the sample of this number, and the second's share; false for none.
  static __device__ bool sample(const Axis& its, int number, A size, A g, int length, int& low, int& high, A& share) {
    number -= its.number;
    if (number < 0) number += its.period;
    return number < its.count && bilinear::neighbours(its.start + (its.from + A(number) + A(0.5)) * size / g, length, low, high, share);
  }
  __device__ bool chosen(const Bin& bin, int which, int& yl, int& yh, A& fy, int& xl, int& xh, A& fx) const {
    const int row = which / bin.columns.period, column = which % bin.columns.period;
    return which >= 0 && row < bin.rows.period && sample(bin.rows, row, o.bh, o.gh, h, yl, yh, fy) &&
           sample(bin.columns, column, o.bw, o.gw, w, xl, xh, fx);
  }
};

// A thread holds one number of the gradient.
template <class T>
__global__ void __launch_bounds__(256) spread_max(int64_t n, const T* grad, const int* which, const acc_t<T>* rois, int batch, int channels, int h, int w, int oh, int ow, acc_t<T> scale, int sampling, bool aligned, acc_t<T>* out) {
  using A = acc_t<T>;
  const int bins = oh * ow;
  for (int64_t t = first(); t < n; t += stride()) {
    const int64_t k = t / bins / channels;
    const A* const roi = rois + k * 5;
    if (!regions::valid(roi, 5, batch)) continue;
    const ChosenSamples<A> region(roi, regions::Pooling<A>{oh, ow, scale, sampling, aligned}, h, w);
    const int bin = int(t % bins);
    int yl, yh, xl, xh;
    A fy, fx;
    if (!region.chosen(region.bin(bin / ow, bin % ow), which[t], yl, yh, fy, xl, xh, fx)) continue;
    A* const target = out + (int64_t(roi[0]) * channels + t / bins % channels) * h * w;
    bilinear::each_neighbour(yl, yh, fy, xl, xh, fx, A(grad[t]), [&](int r, int q, A v) { atomicAdd(target + int64_t(r) * w + q, v); });
  }
}
