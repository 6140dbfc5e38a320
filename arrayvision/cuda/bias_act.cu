// Biases and activations, and their derivatives: a thread 16 bytes of elements (loops::Run); formulas as in cpu/bias_act.py.
#include "elementary.cuh"
#include "loops.cuh"

enum Kind { LINES, EXPONENTIAL, TANH, SIGMOID, SOFTPLUS, SWISH };  // as ops/bias_act.py numbers them

using elementary::exp_of;

template <class A> __device__ inline A bounded(A t) {  // infinities as great numbers: 0 times them is 0
  const A most = A(3e38);
  return t > most ? most : t < -most ? -most : t;
}

template <class A> __device__ inline A activation(int kind, A t, A above, A below, A floor) {
  if (kind == LINES) {
    const A v = t < floor ? floor : t;
    return v * (t > A(0) ? above : below);
  }
  if (kind == EXPONENTIAL) return t > A(0) ? above * t : below * elementary::expm1_of(t);
  if (kind == TANH) return elementary::tanh_of(t);
  const A e = exp_of(-(t < A(0) ? -t : t));
  if (kind == SOFTPLUS) return (t < A(0) ? A(0) : t) + elementary::log1p_unit(e);
  const A s = (t < A(0) ? e : A(1)) / (A(1) + e);
  return kind == SIGMOID ? s : s * (t < A(0) ? bounded(t) : t);
}

// polynomials: `degree` + 1 numbers of the even one, and as many of the odd.
template <class A>
__device__ inline A derivative(int kind, int order, A t, A above, A below, A high, A decay, A share, int degree, const A* polynomials) {
  if (kind == LINES) return order > 1 ? A(0) : t > A(0) ? above : below;
  if (kind == EXPONENTIAL) return t > A(0) ? high : decay * exp_of(t);
  const A v = kind == TANH ? A(2) * t : t, e = exp_of(-(v < A(0) ? -v : v)), near = A(1) / (A(1) + e);
  const A s = v < A(0) ? e * near : near, d = s + s - A(1), b = bounded(t);
  A p = A(0);
#pragma unroll 1
  for (int k = degree; k >= 0; --k) p = p * d + (polynomials[k] + polynomials[degree + 1 + k] * b);
  return share * s + e * near * near * p;
}

// Calls f(k, bias) for the elements of a run.
template <class T, class Index, class F>
__device__ inline void each_of_run(const loops::Run<T, Index>& run, uint64_t by_inner, uint64_t by_channels, const T* bias, bool biased, F&& f) {
  using A = acc_t<T>;
  const loops::FastDivider<Index> inner(by_inner), channels(by_channels);
  Index row = run.start, inside = loops::split(row, inner), channel = loops::split(row, channels);
  A moved = biased ? A(bias[channel]) : A(0);
#pragma unroll
  for (int k = 0; k < run.most; ++k) {
    f(k, moved);
    if (++inside < inner.divisor) continue;
    inside = 0, channel = channel + 1 < channels.divisor ? channel + 1 : 0;
    if (biased) moved = A(bias[channel]);
  }
}

template <class T, class Index>
__global__ void __launch_bounds__(256) activate(Index n, bool aligned, uint64_t by_inner, uint64_t by_channels, const T* x, const T* bias, bool biased, int kind, acc_t<T> above, acc_t<T> below, acc_t<T> floor, acc_t<T> gain, acc_t<T> clamp, T* out) {
  using A = acc_t<T>;
  const loops::Run<T, Index> run(n, aligned, loops::thread<Index>());
  if (!run.count) return;
  auto values = run.load(x);
  each_of_run(run, by_inner, by_channels, bias, biased, [&](int k, A moved) {
    const A t = A(values.at[k]), v = gain * activation(kind, biased ? t + moved : t, above, below, floor);
    values.at[k] = T(v > clamp ? clamp : v < -clamp ? -clamp : v);
  });
  run.store(out, values);
}

template <class T, class Index>
__global__ void __launch_bounds__(256) derive(Index n, bool aligned, uint64_t by_inner, uint64_t by_channels, const T* grad, const T* x, const T* bias, bool biased, int kind, int order, acc_t<T> above, acc_t<T> below, acc_t<T> floor, acc_t<T> high, acc_t<T> decay, acc_t<T> share, acc_t<T> gain, acc_t<T> clamp, int degree, const acc_t<T>* polynomials, T* out) {
  using A = acc_t<T>;
  const loops::Run<T, Index> run(n, aligned, loops::thread<Index>());
  if (!run.count) return;
  auto values = run.load(x);
  const auto given = run.load(grad);
  each_of_run(run, by_inner, by_channels, bias, biased, [&](int k, A moved) {
    const A t = biased ? A(values.at[k]) + moved : A(values.at[k]);
    int its = kind;
    asm volatile("" : "+r"(its));  // else the compiler makes a copy of the whole loop for each kind
    const A v = clamp < A(3e38) ? gain * activation(its, t, above, below, floor) : A(0);
    const bool cut = v > clamp || v < -clamp;
    values.at[k] = T(cut ? A(0) : gain * A(given.at[k]) * derivative(its, order, t, above, below, high, decay, share, degree, polynomials));
  });
  run.store(out, values);
}
