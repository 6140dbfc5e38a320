// What every .cu file includes first. NVRTC has no standard headers: no <cstdint>, no INFINITY.
#pragma once
#if defined(__CUDACC_RTC__)
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#define FLT_MAX 3.402823466e38f
#define DYNAMIC_SHARED(T, name)                                         \
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[]; \
  T* const name = reinterpret_cast<T*>(dynamic_shared_bytes)
#include "half_types.cuh"
#else
#include "cuda_emulator.h"
#endif

// The type in which a storage type's values are computed.
template <class T> struct accumulator { using type = float; };
template <> struct accumulator<double> { using type = double; };
template <class T> using acc_t = typename accumulator<T>::type;

template <class T> __device__ inline bool finite(T x) { return x - x == T(0); }

constexpr int WARP = 32;  // threads that run together

// The thread's number in the grid, and how many threads that has: `for (int64_t i = first(); i < n; i += stride())`.
__device__ inline int64_t first() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t stride() { return int64_t(gridDim.x) * blockDim.x; }
