// Runs CUDA C++ kernels on a CPU, to test them where there is no GPU.
//
// The threads of a block run one after another on one stack; only when a thread stops at a barrier or a warp
// collective does the next one get a stack (a fiber) of its own. A kernel without barriers is therefore a plain loop.
// What a GPU leaves undefined or hangs on is reported: barriers in divergent code, collectives whose mask names a lane
// that never comes, launches beyond the hardware's limits. Shared memory is filled with 0xff (NaN) before each block.
// emu::order runs the threads in another order, which shows missing barriers.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cfloat>
#include <climits>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>  // the overloads for float, in the global namespace
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(EMU_UCONTEXT) || !defined(__ELF__) || !(defined(__x86_64__) || defined(__aarch64__))
#define EMU_USE_UCONTEXT 1
#include <ucontext.h>
#endif
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#include <link.h>
#endif

// ---- language ------------------------------------------------------------------------------------------------------
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// One OS thread and plain statics under ASan (it puts no red zones round thread-local variables).
#if defined(__SANITIZE_ADDRESS__)
#define EMU_TLS
#else
#define EMU_TLS __thread  // unlike thread_local: never a guard or a wrapper function
#endif
#define __shared__ static EMU_TLS
// The one way to declare dynamic shared memory (the CUDA prelude defines it as `extern __shared__ ...`).
#define DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(emu::state.dynamic)
#define warpSize 32

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
#define EMU_VECTORS(T, n) struct alignas(2 * sizeof(T)) n##2 { T x, y; }; struct n##3 { T x, y, z; }; \
  struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) n##4 { T x, y, z, w; }; \
  inline n##2 make_##n##2(T x, T y) { return {x, y}; } inline n##4 make_##n##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTORS(float, float) EMU_VECTORS(double, double) EMU_VECTORS(int, int)
#undef EMU_VECTORS

namespace {  // internal linkage: ASan puts no red zones round the statics of templates with external linkage
namespace emu {

constexpr int WARP = 32, MAX_THREADS = 1024;
enum What : unsigned char { NEW, READY, BLOCK, LANES, DONE };

struct Fiber {
#if EMU_USE_UCONTEXT
  ucontext_t context;
#else
  void* sp;
#endif
  char* stack; void* fake; bool started; bool busy;
};
struct Lane { What what; int line; unsigned mask; int fiber; unsigned slots; unsigned char slot; bool vote; };

struct Races; struct Traffic;
struct State {  // all of a worker's state, in one place: the rest of the module's thread-local storage is shared memory
  uint3 thread, block; dim3 block_dim, grid_dim;
  unsigned char* dynamic;
  Lane* lanes; unsigned long long (*values)[2]; unsigned char* rank;
  std::vector<Fiber>* fibers; Fiber home;
  void (*body)(void*); void* closure;
  int current, next, count, alive, order; unsigned seed; size_t hint;
  Races *races, *kept;  // null: not looked for
  Traffic* traffic;  // null: not counted
  char error[512];
};
EMU_TLS State state;
const size_t STACK =
#if defined(__SANITIZE_ADDRESS__)
    512 << 10;
#else
    128 << 10;
#endif

inline void fail(const char* text, ...) {
  if (state.error[0]) return;
  va_list list; va_start(list, text); vsnprintf(state.error, sizeof state.error, text, list); va_end(list);
}

}  // namespace emu
}  // namespace
#if EMU_RACES
#include "races.h"
#endif
namespace {
namespace emu {

// ---- fibers --------------------------------------------------------------------------------------------------------
void fiber_main();
#if !EMU_USE_UCONTEXT
extern "C" void emu_switch(void** save, void* load) __attribute__((visibility("hidden")));
#if defined(__x86_64__)
asm(R"(.text
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
)");
#else  // aarch64
asm(R"(.text
.globl emu_switch
.hidden emu_switch
emu_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#endif
#endif

inline void prepare(Fiber& f) {
  if (!f.stack) {  // a page without access below each stack: an overflow is a fault, not a silent overwrite
    f.stack = static_cast<char*>(mmap(nullptr, STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    mprotect(f.stack, 4096, PROT_NONE);
    f.stack += 4096;
  }
#if EMU_USE_UCONTEXT
  getcontext(&f.context); f.context.uc_stack.ss_sp = f.stack; f.context.uc_stack.ss_size = STACK; f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
#elif defined(__x86_64__)
  void** top = reinterpret_cast<void**>(f.stack + STACK) - 1;  // as after a call: 8 below a multiple of 16
  *top = nullptr; *--top = reinterpret_cast<void*>(&fiber_main); for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.sp = top;
#else
  void** top = reinterpret_cast<void**>(f.stack + STACK) - 20; std::fill(top, top + 20, nullptr);
  top[11] = reinterpret_cast<void*>(&fiber_main); f.sp = top;
#endif
  f.started = true; f.fake = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(f.stack, STACK);
#endif
}

inline void become(int i) {
  State& s = state; s.current = i;
  unsigned x = s.block_dim.x, y = s.block_dim.y;
  s.thread = {unsigned(i) % x, unsigned(i) / x % y, unsigned(i) / (x * y)};
}
inline int at(int k) {  // the k-th thread to run, in the order asked for
  const State& s = state;
  if (s.order == 1) return s.count - 1 - k;
  if (s.order == 2) return int((k * 2654435761ull + s.seed) % s.count) ;
  return k;
}
inline void home(Fiber& f) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&f.fake, state.home.stack, size_t(state.home.fake));  // the home stack's bounds, below
#endif
#if EMU_USE_UCONTEXT
  swapcontext(&f.context, &state.home.context);
#else
  emu_switch(&f.sp, state.home.sp);
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom; size_t size;
  __sanitizer_finish_switch_fiber(f.fake, &bottom, &size);
  state.home.stack = static_cast<char*>(const_cast<void*>(bottom)); state.home.fake = reinterpret_cast<void*>(size);
#endif
}
void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom; size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  state.home.stack = static_cast<char*>(const_cast<void*>(bottom)); state.home.fake = reinterpret_cast<void*>(size);
#endif
  State& s = state;
  const int me = s.current;  // the scheduler passes the fiber's number here
  for (;;) {
    while (s.next < s.count && !s.error[0]) {
      int i = at(s.next++);
      s.lanes[i].fiber = me; become(i);
      s.body(s.closure);
      s.lanes[s.current].what = DONE; --s.alive;
    }
    (*s.fibers)[me].busy = false;
    home((*s.fibers)[me]);
  }
}
inline void enter(int fiber) {
  Fiber& f = (*state.fibers)[fiber];
#if defined(__SANITIZE_ADDRESS__)
  void* fake; __sanitizer_start_switch_fiber(&fake, f.stack, STACK);
#endif
#if EMU_USE_UCONTEXT
  swapcontext(&state.home.context, &f.context);
#else
  emu_switch(&state.home.sp, f.sp);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}
inline void wait(What what, int line, unsigned mask = 0) {
  State& s = state; Lane& l = s.lanes[s.current];
  l.what = what; l.line = line; l.mask = mask;
  home((*s.fibers)[l.fiber]);
}

// ---- a block -------------------------------------------------------------------------------------------------------
inline bool release_warps() {
  State& s = state; bool any = false;
  for (int w = 0; w < s.count; w += WARP) {
    const int size = std::min(WARP, s.count - w);
    Lane* lanes = s.lanes + w;
    for (int i = 0; i < size; ++i) {
      if (lanes[i].what != LANES) continue;
      const unsigned mask = lanes[i].mask; bool ready = true; unsigned slots = 0;
      for (int j = 0; j < size && ready; ++j)
        if (mask >> j & 1 && lanes[j].what != DONE) ready = lanes[j].what == LANES && lanes[j].mask == mask && lanes[j].line == lanes[i].line;
      if (!ready) continue;
      unsigned present = 0, votes = 0;
      for (int j = 0; j < size; ++j) if (mask >> j & 1 && lanes[j].what == LANES) { present |= 1u << j; slots |= unsigned(lanes[j].slot) << j; votes |= unsigned(lanes[j].vote) << j; }
      for (int j = 0; j < size; ++j) if (present >> j & 1) { lanes[j].what = READY; lanes[j].slots = slots; lanes[j].mask = present; lanes[j].line = int(votes); }
#if EMU_RACES
      if (s.races) s.races->warp(w, present);
      if (s.traffic) s.traffic->warp(w, present);
#endif
      any = true;
    }
  }
  return any;
}
inline bool release_block() {
  State& s = state; int line = 0;
  for (int i = 0; i < s.count; ++i) {
    const Lane& l = s.lanes[i];
    if (l.what == DONE) continue;
    if (l.what != BLOCK || (line && line != l.line)) {
      int other = i; while (other > 0 && s.lanes[other - 1].what == DONE) --other;
      fail("threads of block (%u, %u, %u) wait for each other: thread %d at line %d%s, another at line %d", s.block.x, s.block.y, s.block.z, i,
           l.line, l.what == LANES ? " (warp collective; its mask names a lane that isn't there)" : " (__syncthreads)", line ? line : s.lanes[s.count - 1].line);
      return false;
    }
    line = l.line;
  }
  for (int i = 0; i < s.count; ++i) if (s.lanes[i].what == BLOCK) s.lanes[i].what = READY;
#if EMU_RACES
  if (s.races) ++s.races->epoch;
  if (s.traffic) s.traffic->settle(), ++s.traffic->barriers;
#endif
  return true;
}
inline void run_block() {
  State& s = state;
#if EMU_RACES
  if (s.races) s.races->block();
#endif
  s.next = 0; s.alive = s.count;
  for (int i = 0; i < s.count; ++i) s.lanes[i].what = NEW;
  while (s.next < s.count && !s.error[0]) {  // start threads; comes back here each time one stops at a barrier
    size_t f = 0; auto& fibers = *s.fibers;
    size_t& hint = s.hint; if (hint >= fibers.size()) hint = 0;
    for (f = hint; f < fibers.size() && fibers[f].busy; ++f) {}
    if (f == fibers.size()) for (f = 0; f < fibers.size() && fibers[f].busy; ++f) {}
    hint = f + 1;
    if (!fibers[f].started) prepare(fibers[f]);
    fibers[f].busy = true; s.current = int(f);
    enter(int(f));
  }
  while (s.alive && !s.error[0]) {
    if (!release_warps() && !release_block()) break;
    for (int k = 0; k < s.count && !s.error[0]; ++k) {
      int i = at(k);
      if (s.lanes[i].what == READY) { become(i); enter(s.lanes[i].fiber); }
    }
  }
#if EMU_RACES
  if (s.traffic) s.traffic->settle();
#endif
  if (s.error[0]) for (auto& f : *s.fibers) { f.started = f.busy = false; }  // abandon what still waits
}

// ---- warp collectives ----------------------------------------------------------------------------------------------
inline unsigned collect(unsigned mask, int line, unsigned long long value, bool vote, unsigned* votes = nullptr, unsigned* slots = nullptr) {
  State& s = state; const int me = s.current; Lane& l = s.lanes[me];
  if (!(mask >> me % WARP & 1)) { fail("line %d: lane %d calls a warp collective whose mask 0x%x leaves it out", line, me % WARP, mask); home((*s.fibers)[l.fiber]); }
  l.slot ^= 1; s.values[me][l.slot] = value; l.vote = vote;
  wait(LANES, line, mask);
  if (votes) *votes = unsigned(l.line);
  if (slots) *slots = l.slots;
  return l.mask;  // the lanes that took part
}
template <class T> T exchange(unsigned mask, T v, int line, int source) {  // source: lane in the warp, or -1 for one's own value
  static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
  unsigned long long bits = 0; std::memcpy(&bits, &v, sizeof v);
  unsigned slots; unsigned present = collect(mask, line, bits, false, nullptr, &slots);
  if (source < 0) return v;
  State& s = state; int from = s.current / WARP * WARP + source;
  if (present >> source & 1) std::memcpy(&v, &s.values[from][slots >> source & 1], sizeof v);
  else std::memset(&v, 0xff, sizeof v);  // that lane has returned or isn't in the mask: undefined on a GPU
  return v;
}

// ---- launch --------------------------------------------------------------------------------------------------------
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
struct Segment { char* start; size_t size; };
inline int find_tls(dl_phdr_info* info, size_t, void* out) {
  auto* seg = static_cast<Segment*>(out);
  for (int i = 0; i < info->dlpi_phnum; ++i)
    if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data) {
      char* p = static_cast<char*>(info->dlpi_tls_data); size_t n = info->dlpi_phdr[i].p_memsz; char* own = reinterpret_cast<char*>(&state);
      if (own >= p && own < p + n) { *seg = {p, n}; return 1; }
    }
  return 0;
}
inline void fill_shared(Segment& seg) {
  char* own = reinterpret_cast<char*>(&state); char* end = own + sizeof state;
  std::memset(seg.start, 0xff, own - seg.start); std::memset(end, 0xff, seg.start + seg.size - end);
}
#else
struct Segment {}; inline int find_tls(void*, size_t, void*) { return 0; } inline void fill_shared(Segment&) {}
#endif

// Each stack is two mappings of memory, of which the system lets a process have 65,530, and each module has stacks of its own.
inline void free_stacks() {
#if !defined(__SANITIZE_ADDRESS__)  // it would go on to think of the memory as a stack's
  if (!state.fibers) return;
  for (auto& f : *state.fibers)
    if (f.stack) munmap(f.stack - 4096, STACK + 4096);
  delete state.fibers; state.fibers = nullptr;
#endif
}

inline void work(dim3 g, dim3 b, size_t shared, int order, unsigned seed, void (*body)(void*), void* closure, std::atomic<unsigned long long>& next, std::string& error, Races* races = nullptr, Traffic* traffic = nullptr) {
  std::vector<Lane> lanes(MAX_THREADS); std::vector<unsigned long long> values(2 * MAX_THREADS); 
  State& s = state; std::vector<Fiber>* kept = s.fibers; Races* seen = races ? races : s.kept; std::memset(&s, 0, sizeof s); s.kept = seen;
  s.fibers = kept ? kept : new std::vector<Fiber>(MAX_THREADS);  // an OS thread keeps its stacks for the next launch
  s.lanes = lanes.data(); s.values = reinterpret_cast<unsigned long long(*)[2]>(values.data()); s.body = body; s.closure = closure;
  s.grid_dim = g; s.block_dim = b; s.count = int(b.x * b.y * b.z); s.order = order; s.seed = seed;
  unsigned char* dynamic = nullptr; Segment seg{};
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
  dl_iterate_phdr(find_tls, &seg);
#endif
  if (shared && posix_memalign(reinterpret_cast<void**>(&dynamic), 16, shared)) std::abort();
#if EMU_RACES
  if (races) { const int shift = races->narrow ? 0 : 2; races->watch(seg.start, seg.size, shift, -1); races->watch(dynamic, shared, shift, -1); races->ready(); s.races = races; ++watched; }
#endif
#if EMU_RACES
  if (traffic) s.traffic = traffic, ++watched;
#endif
  const unsigned long long total = 1ull * g.x * g.y * g.z;
  for (unsigned long long k; (k = next++) < total && !s.error[0];) {
    unsigned long long i = order ? total - 1 - k : k;
    s.block = {unsigned(i % g.x), unsigned(i / g.x % g.y), unsigned(i / (1ull * g.x * g.y))};
    if (shared) { std::memset(dynamic, 0xff, shared); s.dynamic = dynamic; }
    fill_shared(seg);
    run_block();
  }
  std::free(dynamic);
#if EMU_RACES
  if (races || traffic) --watched, s.races = nullptr, s.traffic = nullptr;
#endif
  if (s.error[0]) { error = s.error; next = total; }
}

template <class T> std::string code() {
  if (std::is_pointer<T>::value) return "*" + code<std::remove_cv_t<std::remove_pointer_t<std::conditional_t<std::is_pointer<T>::value, T, void*>>>>();
  if (std::is_void<T>::value) return "void";
  std::string size = std::to_string(sizeof(std::conditional_t<std::is_void<T>::value, char, T>));
  if (std::is_floating_point<T>::value) return "f" + size;
  if (std::is_same<T, bool>::value) return "b1";
  if (std::is_integral<T>::value) return (std::is_signed<T>::value ? "i" : "u") + size;
  return "V" + size;  // half, bfloat16, structs: the size is checked
}
template <class... A> const char* signature(void (*)(A...)) {
  static const std::string text = [] { std::string t; ((t += code<std::decay_t<A>>() + " "), ...); return t; }();
  return text.c_str();
}
#if EMU_RACES
template <class P> constexpr bool writes() { return std::is_pointer<P>::value && !std::is_const<std::remove_pointer_t<P>>::value; }
template <class P> constexpr int shift() {  // log2 of the bytes of a cell: elements narrower than a word are apart
  using T = std::remove_cv_t<std::remove_pointer_t<P>>;
  constexpr size_t size = sizeof(std::conditional_t<std::is_void<T>::value, char, T>);
  return std::is_arithmetic<T>::value && size == 8 ? 3 : size % 4 == 0 ? 2 : size % 2 == 0 ? 1 : 0;
}
#endif
template <class... A, size_t... I>
const char* call(void (*kernel)(A...), dim3 g, dim3 b, size_t shared, int order, unsigned seed, int threads, void** a, const size_t* sizes, unsigned long long* counts, std::index_sequence<I...>) {
  std::string error;
  auto report = [&] { snprintf(state.error, sizeof state.error, "%s", error.c_str()); return state.error; };
  if (!b.x || !b.y || !b.z || 1ull * b.x * b.y * b.z > MAX_THREADS || b.z > 64) error = "invalid launch: at least 1, at most 1024 threads a block, 64 in z";
  else if (!g.x || !g.y || !g.z || g.x > 2147483647u || g.y > 65535 || g.z > 65535) error = "invalid launch: the grid has at least 1, at most 2147483647 x 65535 x 65535 blocks";
  else if (shared > 48 << 10) error = "invalid launch: more than 48 KiB of dynamic shared memory needs an attribute on the function";
  if (!error.empty()) return report();
  std::tuple<std::decay_t<A>...> args{*reinterpret_cast<std::decay_t<A>*>(a[I])...};
  auto run = [&] { kernel(std::get<I>(args)...); };
  using Run = decltype(run);
  auto body = [](void* p) { (*static_cast<Run*>(p))(); };
  std::atomic<unsigned long long> next{0};
#if defined(__SANITIZE_ADDRESS__)
  threads = 1;
#endif
  std::vector<std::string> errors(threads);
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back([&, t] { work(g, b, shared, order, seed, body, &run, next, errors[t]);
    free_stacks(); });
  Races* races = nullptr; Traffic* traffic = nullptr;
#if EMU_RACES
  Traffic counting{};
  if (counts) {  // 3 x 3 numbers for each argument, and one
    traffic = &counting; counting.totals = reinterpret_cast<Counts(*)[3]>(counts); counting.count = int(sizeof...(A));
    static_assert(sizeof...(A) <= Traffic::ARRAYS, "");
    Dl_info info; dladdr(reinterpret_cast<void*>(&fail), &info); counting.base = static_cast<char*>(info.dli_fbase);
    ((counting.arrays[I] = {*static_cast<char**>(a[I]), std::is_pointer<std::decay_t<A>>::value ? sizes[I] : 0}), ...);
  } else if (sizes && threads == 1) {
    races = state.kept ? state.kept : new Races();
    races->begin();
    (races->watch(*static_cast<void**>(a[I]), writes<std::decay_t<A>>() ? sizes[I] : 0, shift<std::decay_t<A>>(), int(I)), ...);
  }
#endif
  work(g, b, shared, order, seed, body, &run, next, errors[0], races, traffic);
#if EMU_RACES
  if (counts) counts[9 * sizeof...(A)] = counting.barriers;
#endif
  for (auto& t : pool) t.join();
  for (auto& e : errors) if (!e.empty()) { error = e; return report(); }
  return nullptr;
}
template <class... A> const char* launch(void (*kernel)(A...), const unsigned* g, const unsigned* b, size_t shared, int order, unsigned seed, int threads, void** a, const size_t* sizes, unsigned long long* counts) {
  return call(kernel, {g[0], g[1], g[2]}, {b[0], b[1], b[2]}, shared, order, seed, threads, a, sizes, counts, std::index_sequence_for<A...>{});
}
}  // namespace emu
}  // namespace

#define threadIdx (emu::state.thread)
#define blockIdx (emu::state.block)
#define blockDim (emu::state.block_dim)
#define gridDim (emu::state.grid_dim)

// ---- barriers and warp collectives: the line tells two barriers apart ------------------------------------------------
namespace {
inline void __syncthreads(int line = __builtin_LINE()) { emu::wait(emu::BLOCK, line); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) { emu::collect(mask, line, 0, false); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() {}
template <class T> T __shfl_sync(unsigned m, T v, int src, int width = 32, int line = __builtin_LINE()) {
  int lane = emu::state.current % 32; return emu::exchange(m, v, line, (lane & ~(width - 1)) + (src & (width - 1))); }
template <class T> T __shfl_up_sync(unsigned m, T v, unsigned d, int width = 32, int line = __builtin_LINE()) {
  int lane = emu::state.current % 32, in = lane & (width - 1); return emu::exchange(m, v, line, in < int(d) ? -1 : lane - int(d)); }
template <class T> T __shfl_down_sync(unsigned m, T v, unsigned d, int width = 32, int line = __builtin_LINE()) {
  int lane = emu::state.current % 32, in = lane & (width - 1); return emu::exchange(m, v, line, in + int(d) >= width ? -1 : lane + int(d)); }
template <class T> T __shfl_xor_sync(unsigned m, T v, int x, int width = 32, int line = __builtin_LINE()) {
  int lane = emu::state.current % 32, to = lane ^ x; return emu::exchange(m, v, line, (to & ~(width - 1)) > (lane & ~(width - 1)) ? -1 : to); }
inline unsigned __ballot_sync(unsigned m, int p, int line = __builtin_LINE()) { unsigned v; emu::collect(m, line, 0, p != 0, &v); return v; }
inline int __any_sync(unsigned m, int p, int line = __builtin_LINE()) { return __ballot_sync(m, p, line) != 0; }
inline int __all_sync(unsigned m, int p, int line = __builtin_LINE()) { unsigned v, w = emu::collect(m, line, 0, p != 0, &v); return v == w; }

// ---- atomics -------------------------------------------------------------------------------------------------------
template <class T, class F> T emu_atomic(T* p, F f) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8, "");
  using U = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  U* q = reinterpret_cast<U*>(p); U old = __atomic_load_n(q, __ATOMIC_RELAXED), now; T before;
  do { std::memcpy(&before, &old, sizeof old); T after = f(before); std::memcpy(&now, &after, sizeof now); }
  while (!__atomic_compare_exchange_n(q, &old, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}
template <class T> struct emu_same { using type = T; };
template <class T> using emu_as = typename emu_same<T>::type;  // the value takes the pointer's type
template <class T> T atomicAdd(T* p, emu_as<T> v) { return emu_atomic(p, [&](T o) { return T(o + v); }); }
template <class T> T atomicSub(T* p, emu_as<T> v) { return emu_atomic(p, [&](T o) { return T(o - v); }); }
template <class T> T atomicMax(T* p, emu_as<T> v) { static_assert(std::is_integral<T>::value, "CUDA has no atomicMax for floats"); return emu_atomic(p, [&](T o) { return o > v ? o : v; }); }
template <class T> T atomicMin(T* p, emu_as<T> v) { static_assert(std::is_integral<T>::value, "CUDA has no atomicMin for floats"); return emu_atomic(p, [&](T o) { return o < v ? o : v; }); }
template <class T> T atomicExch(T* p, emu_as<T> v) { return emu_atomic(p, [&](T) { return v; }); }
template <class T> T atomicOr(T* p, emu_as<T> v) { return emu_atomic(p, [&](T o) { return T(o | v); }); }
template <class T> T atomicAnd(T* p, emu_as<T> v) { return emu_atomic(p, [&](T o) { return T(o & v); }); }
template <class T> T atomicCAS(T* p, emu_as<T> want, emu_as<T> v) { return emu_atomic(p, [&](T o) { return o == want ? v : o; }); }

// ---- arithmetic: min and max of floats ignore a NaN, as on a GPU (std::min doesn't) ----------------------------------
template <class A, class B> using emu_number = std::enable_if_t<std::is_arithmetic<A>::value && std::is_arithmetic<B>::value, std::common_type_t<A, B>>;
template <class A, class B> emu_number<A, B> min(A a, B b) { using C = std::common_type_t<A, B>; if constexpr (std::is_floating_point<C>::value) return std::fmin(C(a), C(b)); else return C(a) < C(b) ? C(a) : C(b); }
template <class A, class B> emu_number<A, B> max(A a, B b) { using C = std::common_type_t<A, B>; if constexpr (std::is_floating_point<C>::value) return std::fmax(C(a), C(b)); else return C(a) < C(b) ? C(b) : C(a); }
template <class T> T __ldg(const T* p) { return *p; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __double2float_rd(double x) { float r = float(x); return double(r) > x ? std::nextafter(r, -INFINITY) : r; }
inline float __double2float_ru(double x) { float r = float(x); return double(r) < x ? std::nextafter(r, INFINITY) : r; }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
template <class To, class From> To emu_bits(From v) { static_assert(sizeof(To) == sizeof(From), ""); To r; std::memcpy(&r, &v, sizeof r); return r; }
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
// Conversions that saturate, NaN to 0, as cvt does on a GPU; a plain (int)x of such a value is undefined on a CPU.
inline int emu_to_int(float x) { return x != x ? 0 : x >= 2147483648.0f ? INT_MAX : x <= -2147483648.0f ? INT_MIN : int(x); }
inline int __float2int_rz(float x) { return emu_to_int(x); }
inline int __float2int_rd(float x) { return emu_to_int(std::floor(x)); }
inline int __float2int_rn(float x) { return emu_to_int(std::nearbyint(x)); }
}  // namespace

// ---- 16-bit storage types, bit for bit those of half_types.cuh --------------------------------------------------------
struct half_t {
  uint16_t bits;
  half_t() = default;
  half_t(float f) {
    uint32_t x = emu_bits<uint32_t>(f), sign = x >> 16 & 0x8000;
    x &= 0x7fffffff;
    if (x > 0x7f800000) bits = 0x7fff;  // as cvt.rn.f16.f32 gives it
    else if (x >= 0x477ff000) bits = uint16_t(sign | 0x7c00);
    else if (x < 0x38800000) { float m = emu_bits<float>(x) + 0.5f; bits = uint16_t(sign | (emu_bits<uint32_t>(m) - 0x3f000000)); }
    else bits = uint16_t(sign | ((x - 0x38000000 + 0xfff + (x >> 13 & 1)) >> 13));
  }
  operator float() const {
    uint32_t sign = uint32_t(bits & 0x8000) << 16, e = bits >> 10 & 31, m = bits & 1023;
    if (e == 31) return emu_bits<float>(sign | 0x7f800000 | m << 13);
    if (!e) return (sign ? -1.0f : 1.0f) * float(m) * 5.9604644775390625e-8f;
    return emu_bits<float>(sign | (e + 112) << 23 | m << 13);
  }
};
struct bfloat16_t {
  uint16_t bits;
  bfloat16_t() = default;
  bfloat16_t(float f) { uint32_t x = emu_bits<uint32_t>(f); bits = f != f ? 0x7fff : uint16_t((x + 0x7fff + (x >> 16 & 1)) >> 16); }
  operator float() const { return emu_bits<float>(uint32_t(bits) << 16); }
};
