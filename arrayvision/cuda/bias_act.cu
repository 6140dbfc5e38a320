// Biases and activations, and their derivatives: a thread an element; formulas as in cpu/bias_act.py.
#include "loops.cuh"

enum Kind { LINES, EXPONENTIAL, TANH, SIGMOID, SOFTPLUS, SWISH };  // as ops/bias_act.py numbers them

__device__ inline float exp_of(float x) { return expf(x); }
__device__ inline double exp_of(double x) { return exp(x); }
__device__ inline float expm1_of(float x) { return expm1f(x); }
__device__ inline double expm1_of(double x) { return expm1(x); }
__device__ inline float log1p_of(float x) { return log1pf(x); }
__device__ inline double log1p_of(double x) { return log1p(x); }
__device__ inline float tanh_of(float x) { return tanhf(x); }
__device__ inline double tanh_of(double x) { return tanh(x); }

template <class A> __device__ inline A bounded(A t) {  // infinities as great numbers: 0 times them is 0
  const A most = A(3e38);
  return t > most ? most : t < -most ? -most : t;
}

template <class A> __device__ inline A activation(int kind, A t, A above, A below, A floor) {
  if (kind == LINES) {
    const A v = t < floor ? floor : t;
    return v * (t > A(0) ? above : below);
  }
  if (kind == EXPONENTIAL) return t > A(0) ? above * t : below * expm1_of(t);
  if (kind == TANH) return tanh_of(t);
  const A e = exp_of(-(t < A(0) ? -t : t));
  if (kind == SOFTPLUS) return (t < A(0) ? A(0) : t) + log1p_of(e);
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
  for (int k = degree; k >= 0; --k) p = p * d + (polynomials[k] + polynomials[degree + 1 + k] * b);
  return share * s + e * near * near * p;
}

template <class T, class Index>
__global__ void __launch_bounds__(256) bias_act(Index n, uint64_t by_inner, uint64_t by_channels, const T* grad, const T* x, const T* bias, bool biased, int kind, int order, acc_t<T> above, acc_t<T> below, acc_t<T> floor, acc_t<T> high, acc_t<T> decay, acc_t<T> share, acc_t<T> gain, acc_t<T> clamp, int degree, const acc_t<T>* polynomials, T* out) {
  using A = acc_t<T>;
  const Index e = loops::thread<Index>();
  if (e >= n) return;
  A t = A(x[e]);
  if (biased) {
    Index row = loops::FastDivider<Index>(by_inner).quotient(e);
    t += A(bias[loops::split(row, loops::FastDivider<Index>(by_channels))]);
  }
  A v = A(0);
  if (order == 0 || clamp < A(3e38)) v = gain * activation(kind, t, above, below, floor);
  if (order == 0) {
    out[e] = T(v > clamp ? clamp : v < -clamp ? -clamp : v);
    return;
  }
  const bool cut = v > clamp || v < -clamp;
  out[e] = T(cut ? A(0) : gain * A(grad[e]) * derivative(kind, order, t, above, below, high, decay, share, degree, polynomials));
}
