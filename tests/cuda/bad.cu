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
