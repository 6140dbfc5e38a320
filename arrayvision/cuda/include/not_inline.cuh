// For a long function of several kernels: compiled once, not into each of them, which takes NVRTC up to ten times as long.
#pragma once
#if defined(__CUDACC_RTC__)
#define NOT_INLINE __device__ __noinline__
#else
#define NOT_INLINE __attribute__((noinline))
#endif
