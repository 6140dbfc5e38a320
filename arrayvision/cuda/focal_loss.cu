// Focal losses and their gradients; formulas as in cpu/focal_loss.py.
#include "elementary.cuh"
#include "loops.cuh"

constexpr int BLOCK = 256;   // threads
constexpr int BLOCKS = 1024;  // at most, of the kernels that add: fixed, so sums don't depend on the device

using elementary::exp_of;
using elementary::log1p_of;
using elementary::log1p_unit;
using elementary::log_of;
using elementary::pow_of;

// Of z, which is x where the class isn't the row's own and else -x: p = sigmoid(z), 1 - p, -log(p), -log(1 - p).
template <class A> struct Parts { A p, q, log_p, log_q; };

template <class A> __device__ inline Parts<A> parts(A z) {
  const bool up = z >= A(0);
  const A e = exp_of(up ? -z : z), near = A(1) / (A(1) + e), far = e * near, small = log1p_unit(e);
  return {up ? near : far, up ? far : near, (up ? A(0) : -z) + small, (up ? z : A(0)) + small};
}

template <class A> __device__ inline A bounded(A x) {  // infinities as great numbers: nothing times them is no NaN
  const A most = A(3e38);
  return x > most ? most : x < -most ? -most : x;
}

template <class A> __device__ inline A power(A p, A minus_log, A gamma) {
  return gamma == A(2) ? p * p : exp_of(-gamma * bounded(minus_log));
}

template <class A> __device__ inline A sigmoid_loss(A x, bool own, A gamma, A alpha) {
  const Parts<A> s = parts(own ? -x : x);
  return (own ? alpha : A(1) - alpha) * (power(s.p, s.log_p, gamma) * s.log_q);
}

template <class A> __device__ inline A sigmoid_slope(A x, bool own, A gamma, A alpha) {
  const Parts<A> s = parts(bounded(own ? -x : x));
  return (own ? -alpha : A(1) - alpha) * (power(s.p, s.log_p, gamma) * (gamma * s.q * s.log_q + s.p));
}

// A row's weight: its label's, 1 for background, NaN for a label that no class has.
template <class T> __device__ inline acc_t<T> weight_of(int64_t label, int64_t classes, bool weighted, const T* weight) {
  if (label > classes) return acc_t<T>(NAN);
  return weighted && label >= 0 && label < classes ? acc_t<T>(weight[label]) : acc_t<T>(1);
}

// The sum over a block's threads, in a fixed order; what thread 0 gets.
__device__ inline double block_sum(double mine) {
  __shared__ double sums[BLOCK];
  sums[threadIdx.x] = mine;
  for (int half = BLOCK / 2; half; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  return threadIdx.x ? 0 : sums[0];
}

// A thread's sum. That of floats has another float for what is rounded off (A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur
// Summation endlicher Summen", 1974), since a double for each number would take most of the time where doubles are slow; what floats
// can't hold goes to a double.
template <class A> struct Sum {
  A sum = 0;
  template <int N> __device__ void add(const A (&x)[N]) {
    for (int k = 0; k < N; ++k) sum += x[k];
  }
  __device__ double value() const { return sum; }
};
template <> struct Sum<float> {
  float sum = 0, rest = 0;
  double large = 0;
  template <int N> __device__ void add(const float (&x)[N]) {
    const float before = sum, rest_before = rest;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float total = sum + x[k], part = total - sum;
      rest += (sum - (total - part)) + (x[k] - part), sum = total;
    }
    if (finite(sum)) return;
    large += double(before) + double(rest_before);
    for (int k = 0; k < N; ++k) large += double(x[k]);
    sum = rest = 0;
  }
  __device__ double value() const { return large + (double(sum) + double(rest)); }
};

// Where an element is: its column, its row's own column (no column for a label of none) and weight. Elements come in turn.
template <class T, class Index> struct Place {
  const loops::FastDivider<Index> by_classes;
  const int64_t* const target;
  const bool weighted;
  const T* const weight;
  Index row, column, own;
  acc_t<T> share;

  __device__ Place(uint64_t classes, const int64_t* target, bool weighted, const T* weight)
      : by_classes(classes), target(target), weighted(weighted), weight(weight) {}
  __device__ void begin(Index element) {
    row = element, column = loops::split(row, by_classes);
    look();
  }
  __device__ void look() {
    const int64_t label = target[row], classes = int64_t(by_classes.divisor);
    own = label >= 0 && label < classes ? Index(label) : Index(by_classes.divisor);
    share = weight_of(label, classes, weighted, weight);
  }
  __device__ void next(bool more) {
    if (++column < by_classes.divisor) return;
    column = 0, ++row;
    if (more) look();
  }
};

template <class T, class Index>
__global__ void __launch_bounds__(BLOCK) sigmoid_each(Index size, bool aligned, uint64_t classes, const T* x, const int64_t* target, acc_t<T> gamma,
                             acc_t<T> alpha, bool weighted, const T* weight, T* out) {
  const loops::Run<T, Index> run(size, aligned, loops::thread<Index>());
  if (!run.count) return;
  auto values = run.load(x);
  Place<T, Index> at(classes, target, weighted, weight);
  at.begin(run.start);
#pragma unroll
  for (int k = 0; k < run.most; ++k) {
    values.at[k] = T(sigmoid_loss(acc_t<T>(values.at[k]), at.column == at.own, gamma, alpha) * at.share);
    at.next(k + 1 < run.count);
  }
  run.store(out, values);
}

template <class T, class Index>
__global__ void __launch_bounds__(BLOCK) sigmoid_sums(Index size, bool aligned, uint64_t classes, const T* x, const int64_t* target, acc_t<T> gamma,
                             acc_t<T> alpha, bool weighted, const T* weight, double* sums) {
  Sum<acc_t<T>> mine;
  Place<T, Index> at(classes, target, weighted, weight);
  for (Index t = loops::thread<Index>();; t += loops::threads<Index>()) {
    const loops::Run<T, Index> run(size, aligned, t);
    if (!run.count) break;
    const auto values = run.load(x);
    at.begin(run.start);
    acc_t<T> losses[run.most];
#pragma unroll
    for (int k = 0; k < run.most; ++k) {
      const acc_t<T> loss = sigmoid_loss(acc_t<T>(values.at[k]), at.column == at.own, gamma, alpha) * at.share;
      losses[k] = k < run.count ? loss : acc_t<T>(0);
      at.next(k + 1 < run.count);
    }
    mine.add(losses);
  }
  const double all = block_sum(mine.value());
  if (threadIdx.x == 0) sums[blockIdx.x] = all;
}

// `each`: grad has an element for each loss; else one, of the sum.
template <class T, class Index>
__global__ void __launch_bounds__(BLOCK) sigmoid_gradient(Index size, bool aligned, uint64_t classes, const T* grad, const T* x, const int64_t* target,
                                 acc_t<T> gamma, acc_t<T> alpha, bool weighted, const T* weight, bool each,
                                 acc_t<T> share, T* out) {
  using A = acc_t<T>;
  const loops::Run<T, Index> run(size, aligned, loops::thread<Index>());
  if (!run.count) return;
  auto values = run.load(x);
  Channels<T, run.most> above;
  if (each) above = run.load(grad);
  const A all = each ? A(0) : A(grad[0]) * share;
  Place<T, Index> at(classes, target, weighted, weight);
  at.begin(run.start);
#pragma unroll
  for (int k = 0; k < run.most; ++k) {
    const A slope = sigmoid_slope(A(values.at[k]), at.column == at.own, gamma, alpha);
    values.at[k] = T(slope * at.share * (each ? A(above.at[k]) : all));
    at.next(k + 1 < run.count);
  }
  run.store(out, values);
}

// ---- softmax: a warp a row ------------------------------------------------------------------------------------------
template <class A> __device__ inline A warp_max(A v) {
  for (int k = 16; k; k /= 2) {
    const A other = __shfl_xor_sync(0xffffffffu, v, k);
    v = other > v ? other : v;
  }
  return v;
}

// A sum of exponentials, none greater than 1: in floats with what is rounded off beside it, as in Sum.
template <class A> struct Exponentials {
  A sum = 0;
  __device__ void add(A x) { sum += x; }
  __device__ A of_warp() {
    for (int k = 16; k; k /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    return sum;
  }
};
template <> struct Exponentials<float> {
  float sum = 0, rest = 0;
  __device__ void add(float x) {
    const float total = sum + x, part = total - sum;
    rest += (sum - (total - part)) + (x - part), sum = total;
  }
  __device__ float of_warp() {
    for (int k = 16; k; k /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, sum, k), its = __shfl_xor_sync(0xffffffffu, rest, k);
      // Both lanes take the same steps, so that they have the same sum.
      const float high = max(sum, other), low = min(sum, other), total = sum + other;
      rest = (rest + its) + (low - (total - high)), sum = total;
    }
    return sum + rest;
  }
};

// p: the label's probability, q: the others'; minus_log: of p, halved, since two floats may lie further apart than a float can tell.
template <class A> struct Row { A most, sum, p, q, half_minus_log; };

template <class T>
__device__ inline Row<acc_t<T>> softmax_row(const T* x, int64_t classes, int64_t label, int lane) {
  using A = acc_t<T>;
  A most = A(-INFINITY);
  for (int64_t c = lane; c < classes; c += 32) {
    const A v = A(x[c]);
    most = v > most ? v : most;
  }
  most = warp_max(most);
  Exponentials<A> rest;
  const A mine = A(x[label]), own = exp_of(mine - most);
  for (int64_t c = lane; c < classes; c += 32)
    if (c != label) rest.add(exp_of(A(x[c]) - most));
  const A others = rest.of_warp(), sum = own + others, q = others / sum;
  return {most, sum, own / sum, q, q < A(0.5) ? A(-0.5) * log1p_of(-q) : A(0.5) * log_of(sum) + (A(0.5) * most - A(0.5) * mine)};
}

template <class A> __device__ inline A power_of_q(A q, A gamma) { return gamma == A(2) ? q * q : pow_of(q, gamma); }

template <class T>
__device__ inline acc_t<T> softmax_loss(const T* x, int64_t classes, int64_t label, acc_t<T> gamma, acc_t<T> alpha, bool weighted,
                                        const T* weight, int lane) {
  using A = acc_t<T>;
  if (label < 0) return 0;
  if (label >= classes) return A(NAN);
  const Row<A> row = softmax_row(x, classes, label, lane);
  return alpha * power_of_q(row.q, gamma) * (weighted ? A(weight[label]) : A(1)) * row.half_minus_log * A(2);
}

template <class T>
__global__ void __launch_bounds__(BLOCK) softmax_each(int64_t n, int64_t classes, const T* x, const int64_t* target, acc_t<T> gamma, acc_t<T> alpha,
                             bool weighted, const T* weight, T* out) {
  const int lane = threadIdx.x % 32;
  const int64_t r = first() / WARP;
  if (r >= n) return;
  const acc_t<T> loss = softmax_loss(x + r * classes, classes, target[r], gamma, alpha, weighted, weight, lane);
  if (lane == 0) out[r] = T(loss);
}

template <class T>
__global__ void __launch_bounds__(BLOCK) softmax_sums(int64_t n, int64_t classes, const T* x, const int64_t* target, acc_t<T> gamma, acc_t<T> alpha,
                             bool weighted, const T* weight, double* sums) {
  const int lane = threadIdx.x % 32;
  Sum<acc_t<T>> mine;
  for (int64_t r = first() / 32; r < n; r += stride() / 32) {
    const acc_t<T> loss[1] = {softmax_loss(x + r * classes, classes, target[r], gamma, alpha, weighted, weight, lane)};
    if (lane == 0) mine.add(loss);
  }
  const double all = block_sum(mine.value());
  if (threadIdx.x == 0) sums[blockIdx.x] = all;
}

template <class T>
__global__ void __launch_bounds__(BLOCK) softmax_gradient(int64_t n, int64_t classes, const T* grad, const T* x, const int64_t* target, acc_t<T> gamma,
                                 acc_t<T> alpha, bool weighted, const T* weight, bool each, acc_t<T> share, T* out) {
  using A = acc_t<T>;
  const int lane = threadIdx.x % 32;
  for (int64_t r = first() / 32; r < n; r += stride() / 32) {
    const int64_t label = target[r];
    const T* const row = x + r * classes;
    A slope = 0, q = 0, sum = 1, most = 0;
    if (label >= classes) slope = A(NAN);
    if (label >= 0 && label < classes) {
      const Row<A> s = softmax_row(row, classes, label, lane);
      slope = power_of_q(s.q, gamma);
      if (gamma > 0 && s.p > 0 && s.q > 0) slope += gamma * s.p * (slope / s.q) * (A(2) * s.half_minus_log);
      slope *= alpha * (each ? A(grad[r]) : A(grad[0]) * share) * (weighted ? A(weight[label]) : A(1));
      q = s.q, sum = s.sum, most = s.most;
    }
    const A factor = slope / sum;
    for (int64_t c = lane; c < classes; c += 32) {
      A value = label < 0 ? A(0) : label >= classes ? slope : exp_of(A(row[c]) - most) * factor;
      if (c == label) value = -slope * q;
      out[r * classes + c] = T(value);
    }
  }
}

// The sum of the blocks' sums, times a factor; one block.
template <class T> __global__ void __launch_bounds__(BLOCK) add_sums(int64_t n, const double* sums, double factor, T* out) {
  double mine = 0;
  for (int64_t i = threadIdx.x; i < n; i += BLOCK) mine += sums[i];
  mine = block_sum(mine);
  if (threadIdx.x == 0) out[0] = T(acc_t<T>(mine * factor));
}
