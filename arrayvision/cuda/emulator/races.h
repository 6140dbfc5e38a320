// Sees data races. In a checking build (EMU_RACES) the compiler's -fsanitize=thread calls us before each access to memory,
// with its address; no runtime of the compiler's is linked. For each element of shared memory and of the arrays that a
// kernel may write, a cell keeps who last touched it and how. A second touch by another thread, one of the two a write
// and not both atomic, is a race unless a barrier of the block, or a warp collective of both, lies between; nothing
// lies between two blocks of a launch. It is seen in whatever order the threads run, and whatever the values are.
#pragma once
#define EMU_UNSEEN __attribute__((no_sanitize("thread")))
#include <dlfcn.h>
#include "traffic.h"

namespace {
namespace emu {

struct Access { unsigned epoch, clock, pc; unsigned short thread; };  // epoch: barriers so far, of all blocks and launches
struct Cell { Access write, read[2], atomic[2]; };
struct Region { char* start; size_t size; int shift, argument; Cell* cells; };  // 1 << shift bytes a cell; argument -1: shared memory
enum Kind { READ, WRITE, ATOMIC };

struct Races {  // an OS thread keeps its own for the next launch; cells of earlier launches are known by their epoch
  enum { MOST = 64 };
  Region regions[MOST]; int count; std::vector<std::pair<unsigned, uint3>> blocks; Cell* cells; size_t room, used;
  unsigned epoch, launch, first;  // epochs: now, at the launch's and the block's start
  bool narrow;  // shared memory holds elements narrower than a word
  char *base, *own; unsigned clocks[MAX_THREADS][WARP];  // what each thread knows of the collectives of its warp's lanes

  void watch(void* start, size_t size, int shift, int argument) {
    const size_t wanted = (size >> (argument < 0 ? 0 : shift)) + 1;
    if (!size || count == MOST || used + wanted > size_t(1) << 22) return;  // beyond 320 MB of cells
    regions[count++] = {static_cast<char*>(start), size, shift, argument, reinterpret_cast<Cell*>(used)}; used += wanted;
  }
  void begin() {
    count = 0; blocks.clear(); used = 0; own = reinterpret_cast<char*>(&state);
    if (!base) {
      Dl_info info; dladdr(reinterpret_cast<void*>(&fail), &info); base = static_cast<char*>(info.dli_fbase);
      for (int i = 0; i < MAX_THREADS; ++i) clocks[i][i % WARP] = 1;
    }
    launch = first = ++epoch;
  }
  void ready() {
    if (used > room || epoch >> 31) {
      std::free(cells); room = std::max(used, room); cells = static_cast<Cell*>(std::calloc(room, sizeof(Cell)));
      if (epoch >> 31) launch = first = epoch = 1;
    }
    for (int i = 0; i < count; ++i) regions[i].cells = cells + reinterpret_cast<size_t>(regions[i].cells);
  }
  void block() { first = ++epoch; blocks.push_back({epoch, state.block}); }
  void warp(int w, unsigned present) {
    unsigned all[WARP] = {};
    for (int i = 0; i < WARP; ++i) if (present >> i & 1) for (int j = 0; j < WARP; ++j) all[j] = std::max(all[j], clocks[w + i][j]);
    for (int i = 0; i < WARP; ++i) if (present >> i & 1) { std::memcpy(clocks[w + i], all, sizeof all); ++clocks[w + i][i]; }
  }
};

#define EMU_INLINE inline __attribute__((always_inline))  // what a hook runs must not call a hook
EMU_UNSEEN EMU_INLINE bool unordered(const Races& r, const Access& a, unsigned floor, int me) {
  if (a.epoch < floor) return false;
  if (a.epoch < r.first) return true;  // another block
  return a.epoch == r.epoch && a.thread != me && !(a.thread / WARP == me / WARP && r.clocks[me][a.thread % WARP] >= a.clock);
}
// Of many readers two tell all: of two blocks, else of two warps, else two threads; a writer differs from one of them.
EMU_UNSEEN EMU_INLINE void note(const Races& r, Access* two, const Access& now, unsigned floor) {
  const int me = now.thread;
  if (!unordered(r, two[0], floor, me)) { two[0] = now; if (!unordered(r, two[1], floor, me)) two[1].epoch = 0; return; }
  if (!unordered(r, two[1], floor, me)) { two[1] = now; return; }
  const bool old0 = two[0].epoch < r.first, old1 = two[1].epoch < r.first;
  if (old0 != old1) return;
  if (old0 || (two[0].thread / WARP == two[1].thread / WARP && me / WARP != two[0].thread / WARP)) two[1] = now;
}
__attribute__((noinline)) void report(const Races& r, const Region& g, size_t offset, Kind kind, const Access& now, Kind before, const Access& a) {
  state.races = nullptr;  // one is enough
  const char *does[] = {"reads", "writes", "atomically changes"}, *did[] = {"read", "wrote", "atomically changed"};
  uint3 b = state.block; for (auto& k : r.blocks) if (k.first <= a.epoch) b = k.second;
  char what[64];
  if (g.argument < 0) snprintf(what, sizeof what, "byte %zu of shared memory", offset);
  else snprintf(what, sizeof what, "byte %zu of argument %d", offset, g.argument);
  fail("a race on %s: thread %d of block (%u, %u, %u) %s it at <%x>; thread %d of block (%u, %u, %u) %s it at <%x>, with no barrier between", what,
       now.thread, state.block.x, state.block.y, state.block.z, does[kind], now.pc, a.thread, b.x, b.y, b.z, did[before], a.pc);
}
EMU_UNSEEN __attribute__((noinline)) void split(Region& g) {  // a cell for each byte in place of each word
  for (size_t k = (g.size + 3) / 4; k--;) for (int i = 4; i--;) if (4 * k + i <= g.size) g.cells[4 * k + i] = g.cells[k];
  g.shift = 0;
}
EMU_UNSEEN __attribute__((noinline)) void look(const volatile void* p, size_t n, Kind kind, void* pc) {
  State& s = state; char* const at = static_cast<char*>(const_cast<void*>(p));
  if (s.traffic) return s.traffic->access(at, n, kind, unsigned(static_cast<char*>(pc) - s.traffic->base), s.current);
  if (!s.races) return;
  Races& r = *s.races;
  if (size_t(at - r.own) < sizeof(State)) return;
  Region *g = r.regions, *const end = g + r.count;
  while (g != end && size_t(at - g->start) >= g->size) ++g;
  if (g == end) return;
  const size_t offset = at - g->start, beyond = offset + n < g->size ? offset + n : g->size;
  if (g->argument < 0 && g->shift && ((offset | n) & 3)) {
    r.narrow = true;
    for (Region* k = r.regions; k != end; ++k) if (k->argument < 0 && k->shift) split(*k);
  }
  const int me = s.current;
  const Access now{r.epoch, r.clocks[me][me % WARP], unsigned(static_cast<char*>(pc) - r.base), static_cast<unsigned short>(me)};
  const unsigned floor = g->argument < 0 ? r.first : r.launch;
  for (size_t k = offset >> g->shift; k <= (beyond - 1) >> g->shift; ++k) {
    Cell& c = g->cells[k];
    const Access& mine = kind == READ ? c.read[0] : kind == WRITE ? c.write : c.atomic[0];
    if (mine.epoch == now.epoch && mine.thread == now.thread && mine.clock == now.clock) continue;
    const Access* other = nullptr; Kind did = WRITE;
    if (unordered(r, c.write, floor, me)) other = &c.write;
    for (int i = 0; i < 2; ++i) {
      if (kind != READ && unordered(r, c.read[i], floor, me)) other = &c.read[i], did = READ;
      if (kind != ATOMIC && unordered(r, c.atomic[i], floor, me)) other = &c.atomic[i], did = ATOMIC;
    }
    if (other) return report(r, *g, k << g->shift, kind, now, did, *other);
    if (kind == WRITE) c.write = now;
    else note(r, kind == READ ? c.read : c.atomic, now, floor);
  }
}
std::atomic<int> watched{0};  // launches; to look here costs less than in the thread's own storage
EMU_UNSEEN EMU_INLINE void touch(const volatile void* p, size_t n, Kind kind, void* pc) { if (__builtin_expect(*reinterpret_cast<volatile int*>(&watched), 0)) look(p, n, kind, pc); }
}  // namespace emu
}  // namespace

// ---- what the compiler calls ---------------------------------------------------------------------------------------
#define EMU_HOOK extern "C" __attribute__((visibility("hidden"), used, no_sanitize("thread")))
#define EMU_SIZE(n) \
  EMU_HOOK void __tsan_read##n(void* p) { emu::touch(p, n, emu::READ, __builtin_return_address(0)); } \
  EMU_HOOK void __tsan_write##n(void* p) { emu::touch(p, n, emu::WRITE, __builtin_return_address(0)); } \
  EMU_HOOK void __tsan_unaligned_read##n(void* p) { emu::touch(p, n, emu::READ, __builtin_return_address(0)); } \
  EMU_HOOK void __tsan_unaligned_write##n(void* p) { emu::touch(p, n, emu::WRITE, __builtin_return_address(0)); } \
  EMU_HOOK void __tsan_volatile_read##n(void* p) { emu::touch(p, n, emu::READ, __builtin_return_address(0)); } \
  EMU_HOOK void __tsan_volatile_write##n(void* p) { emu::touch(p, n, emu::WRITE, __builtin_return_address(0)); }
EMU_SIZE(1) EMU_SIZE(2) EMU_SIZE(4) EMU_SIZE(8) EMU_SIZE(16)
EMU_HOOK void __tsan_read_range(void* p, size_t n) { emu::touch(p, n, emu::READ, __builtin_return_address(0)); }
EMU_HOOK void __tsan_write_range(void* p, size_t n) { emu::touch(p, n, emu::WRITE, __builtin_return_address(0)); }
EMU_HOOK void __tsan_init() {}
EMU_HOOK void __tsan_func_entry(void*) {}
EMU_HOOK void __tsan_func_exit(void*) {}
EMU_HOOK void __tsan_vptr_update(void*, void*) {}
EMU_HOOK void __tsan_vptr_read(void*) {}
EMU_HOOK void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMU_HOOK void __tsan_atomic_signal_fence(int) {}
#define EMU_FETCH(bits, T, name) \
  EMU_HOOK T __tsan_atomic##bits##_fetch_##name(volatile void* p, T v, int) { emu::touch(p, sizeof v, emu::ATOMIC, __builtin_return_address(0)); return __atomic_fetch_##name(static_cast<volatile T*>(p), v, __ATOMIC_SEQ_CST); }
#define EMU_EXCHANGE(bits, T, name) \
  EMU_HOOK bool __tsan_atomic##bits##_compare_exchange_##name(volatile void* p, void* old, T v, int, int) { emu::touch(p, sizeof v, emu::ATOMIC, __builtin_return_address(0)); return __atomic_compare_exchange_n(static_cast<volatile T*>(p), static_cast<T*>(old), v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); }
#define EMU_ATOMICS(bits, T) \
  EMU_HOOK T __tsan_atomic##bits##_load(const volatile void* p, int) { return __atomic_load_n(static_cast<const volatile T*>(p), __ATOMIC_SEQ_CST); } \
  EMU_HOOK void __tsan_atomic##bits##_store(volatile void* p, T v, int) { emu::touch(p, sizeof v, emu::ATOMIC, __builtin_return_address(0)); __atomic_store_n(static_cast<volatile T*>(p), v, __ATOMIC_SEQ_CST); } \
  EMU_HOOK T __tsan_atomic##bits##_exchange(volatile void* p, T v, int) { emu::touch(p, sizeof v, emu::ATOMIC, __builtin_return_address(0)); return __atomic_exchange_n(static_cast<volatile T*>(p), v, __ATOMIC_SEQ_CST); } \
  EMU_FETCH(bits, T, add) EMU_FETCH(bits, T, sub) EMU_FETCH(bits, T, and) EMU_FETCH(bits, T, or) EMU_FETCH(bits, T, xor) EMU_FETCH(bits, T, nand) \
  EMU_EXCHANGE(bits, T, strong) EMU_EXCHANGE(bits, T, weak)
EMU_ATOMICS(8, uint8_t) EMU_ATOMICS(16, uint16_t) EMU_ATOMICS(32, uint32_t) EMU_ATOMICS(64, uint64_t)
