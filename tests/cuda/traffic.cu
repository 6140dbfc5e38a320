// Kernels whose traffic is known.
#include "prelude.cuh"

struct __align__(16) Four { float a, b, c, d; };
struct Five { double a, b, c, d, e; };

template <class T> __global__ void copy(int n, int step, const T* x, T* y) {
  const int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t < n) y[t] = x[t * step];
}
__global__ void rows(int length, const float* x, float* y) {  // a thread a row
  float sum = 0;
  for (int k = 0; k < length; ++k) sum += x[threadIdx.x * length + k];
  y[threadIdx.x] = sum;
}
__global__ void columns(int length, const float* x, float* y) {
  float sum = 0;
  for (int k = 0; k < length; ++k) sum += x[k * blockDim.x + threadIdx.x];
  y[threadIdx.x] = sum;
}
__global__ void uneven(const int* many, const float* x, float* y) {  // lanes that go on are one request each time
  float sum = 0;
  for (int k = 0; k < many[threadIdx.x]; ++k) sum += x[k * 32 + threadIdx.x % 32];
  y[threadIdx.x] = sum;
}
__global__ void phases(const float* x, float* y) {
  __shared__ float tile[64];
  float sum = 0;
  for (int k = threadIdx.x < 32 ? 0 : 1; k < 2; ++k) sum += x[k];
  tile[threadIdx.x] = sum;
  __syncthreads();
  sum = tile[63 - threadIdx.x];
  __syncwarp();
  if (threadIdx.x % 2) sum += x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = sum;
}
__global__ void add(const int* at, float* out) { atomicAdd(out + at[threadIdx.x], 1.0f); }
