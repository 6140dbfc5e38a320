// What floats and Pairs know of shapes, beside what doubles do.
#include "polygons.cuh"

__global__ void arithmetic(int n, const double* first, const double* second, double* out) {
  for (int64_t i = ::first(); i < n; i += stride()) {
    const pairs::Pair a = first[i], b = second[i], results[] = {a + b, a - b, a * b, a / b};
    for (int k = 0; k < 4; ++k) out[4 * i + k] = double(results[k]);
  }
}

template <class C, class P>
__global__ void compare(int n, const double* first, const double* second, float threshold, double* shared, double* in_pairs, float* roughly, float* error, int* found) {
  for (int64_t i = ::first(); i < n; i += stride()) {
    C a, b;
    a.load(first + C::columns * i, 1.0);
    b.load(second + C::columns * i, 1.0);
    shared[i] = polygons::overlap(a.shape, b.shape);
    P p, q;
    p.set(a.shape), q.set(b.shape);
    in_pairs[i] = double(polygons::overlap(p, q));
    const typename C::Rough &r = a.rough(), &s = b.rough();
    const float dx = (s.x - r.x) + (s.x_low - r.x_low), dy = (s.y - r.y) + (s.y_low - r.y_low);
    roughly[i] = r.hull.apart(s.hull) ? 0.0f : fminf(fmaxf(r.area_with(s, dx, dy), 0.0f), fminf(r.area, s.area));
    error[i] = r.error(fabsf(dx) + fabsf(dy) + r.reach + s.reach);
    found[i] = polygons::compared(r, s, threshold);
  }
}

// One pair of shapes: what it costs is read from the compiled code.
template <class S> __global__ void __launch_bounds__(128) share(const S* p, const S* q, typename S::Number* out) {
  const int64_t i = ::first();
  out[i] = polygons::overlap(p[i], q[i]);
}
template <class R> __global__ void __launch_bounds__(128) decide(const R* p, const R* q, float threshold, int* found) {
  const int64_t i = ::first();
  found[i] = polygons::compared(p[i], q[i], threshold);
}
__global__ void __launch_bounds__(128) touch(const polygons::Hull* p, const polygons::Hull* q, bool* found) {
  const int64_t i = ::first();
  found[i] = p[i].apart(q[i]);
}
