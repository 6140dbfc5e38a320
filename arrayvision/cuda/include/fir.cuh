// Filters of planes after zeros are put between samples: what an output is a sum of.
#pragma once
#include "loops.cuh"

namespace fir {

// An axis: `up` places for each of `size` inputs, one of `down` kept, `before` zeros in front, `taps` weights.
struct Axis { int up, down, before, taps, size; };

// The taps of an output that find an input: the first one's number and its input's, and how many; every `up`-th tap is one.
struct Run { int tap, input, count; };
__device__ inline Run run(const Axis& axis, int output) {
  const int position = output * axis.down - axis.before;
  int input = position <= 0 ? 0 : (position + axis.up - 1) / axis.up;
  const int tap = input * axis.up - position, more = tap < axis.taps ? (axis.taps - tap + axis.up - 1) / axis.up : 0;
  return {tap, input, more < axis.size - input ? more : axis.size - input};
}

// Of a plane and the filter's weights (rows, columns), which are taken in reverse unless `flip`. `read` gives a sample's value.
template <class A, class T, class Read>
__device__ inline A sum(const T* plane, const Axis& rows, const Axis& columns, int y, int x, const A* weights, bool flip, Read read) {
  const Run down = run(rows, y), along = run(columns, x);
  const int last = rows.taps * columns.taps - 1;
  A total = A(0);
  for (int i = 0; i < down.count; ++i) {
    const T* const source = plane + int64_t(down.input + i) * columns.size + along.input;
    const int first = (down.tap + i * rows.up) * columns.taps + along.tap;
    for (int j = 0; j < along.count; ++j) {
      const int k = first + j * columns.up;
      total += weights[flip ? k : last - k] * read(source[j]);
    }
  }
  return total;
}

}  // namespace fir
