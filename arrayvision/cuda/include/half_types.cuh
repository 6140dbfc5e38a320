// float16 and bfloat16 as storage: converted on load and store, computed in float. No CUDA header is needed.
#pragma once
struct half_t {
  unsigned short bits;
  __device__ half_t() = default;
  __device__ half_t(float f) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(f)); }
  __device__ operator float() const {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
    return f;
  }
};
struct bfloat16_t {
  unsigned short bits;
  __device__ bfloat16_t() = default;
  __device__ bfloat16_t(float f) {
    unsigned x = __float_as_uint(f);
    bits = f != f ? 0x7fff : (unsigned short)((x + 0x7fff + (x >> 16 & 1)) >> 16);
  }
  __device__ operator float() const { return __uint_as_float((unsigned)bits << 16); }
};
