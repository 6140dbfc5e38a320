// Kernels with the faults that the emulator must report, and others whose results are known.
#include "prelude.cuh"

template <class T> __global__ void race(const T* x, T* y) {  // a __syncthreads is missing
  __shared__ T tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x == 0 ? 0 : threadIdx.x - 1];
}
template <class T> __global__ void divergent(const T* x, T* y) {  // threads wait at different places
  __shared__ T tile[64];
  if (threadIdx.x < 16) {
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
  } else {
    tile[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);
    __syncthreads();
  }
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
__global__ void hang(int* y) {  // a barrier that some threads never reach
  if (threadIdx.x == 0) __syncthreads(); else __syncwarp();
  y[threadIdx.x] = 1;
}
template <class T> __global__ void uninitialised(T* y) {
  __shared__ T sum[4];
  if (threadIdx.x < 4) sum[threadIdx.x] += T(1);
  __syncthreads();
  y[threadIdx.x] = sum[threadIdx.x % 4];
}
template <class T> __global__ void shared_overrun(T* y, int k) {
  __shared__ T a[64];
  T* p = a;
  p[threadIdx.x] = T(1);
  __syncthreads();
  y[threadIdx.x] = p[threadIdx.x + k];
}
template <class T> __global__ void dynamic_overrun(T* y, int k) {
  DYNAMIC_SHARED(T, s);
  s[threadIdx.x] = y[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[(threadIdx.x + k) % (blockDim.x + k)];
}
template <class T> __global__ void overrun(T* y, int k) { y[threadIdx.x + k] = T(1); }
__global__ void cast(const float* x, int* y) { y[threadIdx.x] = int(x[threadIdx.x]); }  // undefined for large numbers
template <class T> __global__ void exited(int n, const T* x, T* y) {  // a shuffle after lanes of its mask returned
  int i = threadIdx.x;
  if (i >= n) return;
  T v = x[i];
  for (int o = 16; o; o >>= 1) v += __shfl_down_sync(0xffffffffu, v, o);
  if (i == 0) *y = v;
}
__global__ void where(int64_t n, int* out) {
  int64_t i = (int64_t(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x, all = blockDim.x * blockDim.y * blockDim.z;
  for (int64_t k = i * all + t; k < n; k += int64_t(gridDim.x) * gridDim.y * gridDim.z * all) atomicAdd(out + k, 1);
}
__global__ void collectives(const int* x, unsigned* ballot, int* any, int* all, int* up, int* butterfly, int* broadcast, int* half_warp) {
  int i = threadIdx.x;
  ballot[i] = __ballot_sync(~0u, x[i] > 0);
  any[i] = __any_sync(~0u, x[i] == 7);
  all[i] = __all_sync(~0u, x[i] > -100);
  up[i] = __shfl_up_sync(~0u, x[i], 3);
  butterfly[i] = __shfl_xor_sync(~0u, x[i], 5);
  broadcast[i] = __shfl_sync(~0u, x[i], 9, 16);
  if (i % 32 < 16) half_warp[i] = __shfl_down_sync(0xffffu, x[i], 1, 16);
  else half_warp[i] = __shfl_up_sync(0xffff0000u, x[i], 1, 16);
}
template <class T> __global__ void sums(int n, const T* x, T* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(out, x[i]);
}
__global__ void extremes(int n, const int* x, int* low, int* high) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicMin(low, x[i]), atomicMax(high, x[i]);
}
template <class T> __global__ void convert(int n, const float* x, T* y, float* back) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = T(x[i]), back[i] = float(y[i]);
}
__global__ void with_nan(const float* x, float* y) { y[0] = min(x[0], 1.0f), y[1] = max(1.0f, x[0]), y[2] = min(1.0f, x[0]); }

// Races. Run in any order, each gives what it would on a GPU if no two threads met.
__global__ void scatter(int n, const int* idx, const float* x, float* out) {  // an atomicAdd is missing
  int64_t t = first();
  if (t < n) out[idx[t]] += x[t];
}
__global__ void scatter_atomic(int n, const int* idx, const float* x, float* out) {
  int64_t t = first();
  if (t < n) atomicAdd(out + idx[t], x[t]);
}
__global__ void half_atomic(int n, float* out) {  // an atomic is none to who reads plainly
  int64_t t = first();
  if (t == 0) atomicAdd(out, 1.0f);
  else if (t == n - 1) out[1] = out[0];
}
__global__ void last_writer(int n, int64_t* out) {  // all write the same
  if (first() < n) *out = n;
}
__global__ void any_found(int n, const float* x, bool* found) {
  int64_t t = first();
  if (t < n && x[t] > 0) found[t / 8] = true;
}
__global__ void neighbours(int n, const float* x, uint8_t* out) {  // bytes of a word are apart
  int64_t t = first();
  if (t < n) out[t] = x[t] > 0;
}
__global__ void exchange(int steps, const float* x, float* y) {  // the second barrier of the loop is missing where steps > 1
  __shared__ float tile[64];
  float v = x[threadIdx.x];
  for (int k = 0; k < steps; ++k) {
    tile[threadIdx.x] = v;
    __syncthreads();
    v = tile[63 - threadIdx.x];
  }
  y[threadIdx.x] = v;
}
template <bool BARRIER> __global__ void dynamic_exchange(const float* x, float* y) {
  DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = x[threadIdx.x];
  if (BARRIER) __syncthreads();
  y[threadIdx.x] = tile[31 ^ threadIdx.x];
}
template <bool ACROSS> __global__ void in_warps(const float* x, float* y) {  // a warp's barrier orders the warp alone
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  y[threadIdx.x] = tile[ACROSS ? 63 - threadIdx.x : threadIdx.x ^ 31];
}
struct Wide { double v[5]; };
__global__ void structs(const Wide* x, Wide* y) { y[threadIdx.x / 2] = x[threadIdx.x]; }
template <bool BARRIER> __global__ void narrow(const float* x, float* y) {  // after words, bytes
  __shared__ float words[64];
  __shared__ bool flags[64];
  words[threadIdx.x] = x[threadIdx.x];
  flags[threadIdx.x] = x[threadIdx.x] > 9;
  if (BARRIER) __syncthreads();
  y[threadIdx.x] = flags[threadIdx.x ^ 1] ? 1 : 2;
  y[threadIdx.x] += words[threadIdx.x];
}
