// Filters of planes after zeros are put between samples: what an output is a sum of.
#pragma once
#include "loops.cuh"

namespace fir {

// An axis: `up` places for each of `size` inputs, one of `down` kept, `before` zeros in front, `taps` weights.
struct Axis { int up, down, before, taps, size; };

// n / up for n >= 0; nearly always by a power of two, which takes a shift.
__device__ inline int over(int n, int up) { return (up & (up - 1)) == 0 ? n >> (31 - __clz(up)) : n / up; }

// The taps of an output that find an input: the first one's number and its input's, and how many; every `up`-th tap is one.
struct Run { int tap, input, count; };
__device__ inline Run run(const Axis& axis, int output) {
  const int position = output * axis.down - axis.before;
  const int input = position <= 0 ? 0 : over(position + axis.up - 1, axis.up);
  const int tap = input * axis.up - position, more = tap < axis.taps ? over(axis.taps - tap + axis.up - 1, axis.up) : 0;
  return {tap, input, more < axis.size - input ? more : axis.size - input};
}

// Of a plane and the filter's weights (rows, columns), which are taken in reverse unless `flip`. `read` gives a sample's value.
template <class A, class T, class Read>
__device__ inline A sum(const T* plane, const Axis& rows, const Axis& columns, const Run& down, const Run& along, const A* weights, bool flip, Read read) {
  const int last = rows.taps * columns.taps - 1;
  A total = A(0);
#pragma unroll 1  // an output has few taps, for which loops unrolled further would only be more branches
  for (int i = 0; i < down.count; ++i) {
    const T* const source = plane + int64_t(down.input + i) * columns.size + along.input;
    const int first = (down.tap + i * rows.up) * columns.taps + along.tap;
#pragma unroll 2
    for (int j = 0; j < along.count; ++j) {
      const int k = first + j * columns.up;
      total = fma(weights[flip ? k : last - k], A(read(source[j])), total);
    }
  }
  return total;
}

}  // namespace fir
