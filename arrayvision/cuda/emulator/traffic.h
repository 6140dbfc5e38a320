// Counts what a launch asks of memory, as a GPU's profiler does: requests, which are one instruction of a warp, and the
// 32-byte sectors that each touches. Threads run one after another here, so the k-th passes of a warp's lanes through one place
// in the code, with the same barriers and collectives behind them, are taken for one request. A number of bytes that no
// instruction moves (a struct of five floats) counts as several. Without a compiler's vectors (see RACES in __init__.py) an
// access here is one that the source asks for; a GPU's compiler may ask less often, where it keeps a value in a register. Arrays
// are taken to begin with a sector, as they do on a GPU.
// Included by races.h, whose calls from the compiler bring each access.
#pragma once

namespace {
namespace emu {

struct Counts { unsigned long long requests, sectors, lanes; };  // lanes: accesses of single threads

struct Traffic {
  enum { SECTOR = 32, ARRAYS = 64, ROOM = 2 * WARP };
  struct Array { char* start; size_t size; };
  struct Passes { unsigned pc, thread, phase, times; };  // of a thread through one place; times 0: a free cell
  struct Request { unsigned pc, warp, phase, pass; int argument, kind; unsigned lanes, count; unsigned long long sectors[ROOM]; };
  Array arrays[ARRAYS]; int count;
  Passes* passes; size_t passes_room, passes_used;
  Request* requests; size_t requests_room, requests_used; unsigned* cells; size_t cells_room;  // cells: 1 + a request's number
  unsigned phases[MAX_THREADS];  // how many collectives a thread has behind it
  Counts (*totals)[3]; unsigned long long barriers; char* base;

  EMU_UNSEEN static size_t mix(unsigned a, unsigned b, unsigned c, unsigned d) {
    unsigned long long x = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full) ^ (c * 0x165667b19e3779f9ull) ^ (d * 0x27d4eb2f165667c5ull);
    return size_t(x ^ x >> 29);
  }
  EMU_UNSEEN void grow_passes() {
    Passes* const old = passes; const size_t size = passes_room;
    passes_room = size ? 2 * size : 1 << 12; passes = static_cast<Passes*>(std::calloc(passes_room, sizeof(Passes)));
    for (size_t i = 0; i < size; ++i) if (old[i].times) {
      size_t k = mix(old[i].pc, old[i].thread, 0, 0) & (passes_room - 1);
      while (passes[k].times) k = (k + 1) & (passes_room - 1);
      passes[k] = old[i];
    }
    std::free(old);
  }
  EMU_UNSEEN unsigned pass(unsigned pc, unsigned thread) {
    if (2 * passes_used >= passes_room) grow_passes();
    size_t k = mix(pc, thread, 0, 0) & (passes_room - 1);
    while (passes[k].times && (passes[k].pc != pc || passes[k].thread != thread)) k = (k + 1) & (passes_room - 1);
    if (!passes[k].times) ++passes_used, passes[k].pc = pc, passes[k].thread = thread, passes[k].phase = phases[thread];
    else if (passes[k].phase != phases[thread]) passes[k].phase = phases[thread], passes[k].times = 0;
    return ++passes[k].times;
  }
  EMU_UNSEEN static size_t place(const Request& r) { return mix(r.pc, r.warp ^ r.phase << 8, r.pass, unsigned(r.argument * 4 + r.kind)); }
  EMU_UNSEEN static bool same(const Request& a, const Request& b) {
    return a.pc == b.pc && a.warp == b.warp && a.phase == b.phase && a.pass == b.pass && a.argument == b.argument && a.kind == b.kind;
  }
  EMU_UNSEEN Request& request(const Request& wanted) {
    if (2 * requests_used >= cells_room) {
      std::free(cells); cells_room = cells_room ? 2 * cells_room : 1 << 12; cells = static_cast<unsigned*>(std::calloc(cells_room, sizeof(unsigned)));
      for (size_t i = 0; i < requests_used; ++i) {
        size_t k = place(requests[i]) & (cells_room - 1);
        while (cells[k]) k = (k + 1) & (cells_room - 1);
        cells[k] = unsigned(i + 1);
      }
    }
    size_t k = place(wanted) & (cells_room - 1);
    while (cells[k] && !same(requests[cells[k] - 1], wanted)) k = (k + 1) & (cells_room - 1);
    if (!cells[k]) {
      if (requests_used == requests_room) {
        requests_room = requests_room ? 2 * requests_room : 1 << 10;
        requests = static_cast<Request*>(std::realloc(requests, requests_room * sizeof(Request)));
      }
      requests[requests_used] = wanted; cells[k] = unsigned(++requests_used);
    }
    return requests[cells[k] - 1];
  }
  EMU_UNSEEN void access(char* at, size_t n, int kind, unsigned pc, int thread) {
    int a = 0;
    while (a != count && size_t(at - arrays[a].start) >= arrays[a].size) ++a;
    if (a == count) return;
    size_t most = n & (~n + 1);  // the largest power of two in n
    most = most > 16 ? 16 : most;
    for (size_t k = 0; k < n; k += most) {
      Request wanted; wanted.pc = pc + unsigned(k); wanted.warp = unsigned(thread / WARP); wanted.phase = phases[thread];
      wanted.pass = pass(pc + unsigned(k), unsigned(thread)); wanted.argument = a; wanted.kind = kind; wanted.lanes = wanted.count = 0;
      Request& r = request(wanted);
      ++r.lanes;
      const unsigned long long offset = size_t(at + k - arrays[a].start), from = offset / SECTOR, to = (offset + most - 1) / SECTOR;
      for (unsigned long long s = from; s <= to; ++s) {
        unsigned i = 0;
        while (i < r.count && r.sectors[i] != s) ++i;
        if (i == r.count && r.count < ROOM) r.sectors[r.count++] = s;
      }
    }
  }
  // At a barrier of the block, or its end: nothing before it is of one request with anything after.
  EMU_UNSEEN void settle() {
    for (size_t i = 0; i < requests_used; ++i) {
      Counts& c = totals[requests[i].argument][requests[i].kind];
      ++c.requests; c.sectors += requests[i].count; c.lanes += requests[i].lanes;
    }
    if (requests_used) std::memset(cells, 0, cells_room * sizeof *cells);
    if (passes_used) std::memset(passes, 0, passes_room * sizeof *passes);
    requests_used = passes_used = 0;
    for (int i = 0; i < MAX_THREADS; ++i) phases[i] = 0;
  }
  EMU_UNSEEN void warp(int w, unsigned present) {
    unsigned newest = 0;
    for (int i = 0; i < WARP; ++i) if (present >> i & 1 && phases[w + i] > newest) newest = phases[w + i];
    for (int i = 0; i < WARP; ++i) if (present >> i & 1) phases[w + i] = newest + 1;
  }
  ~Traffic() { std::free(passes); std::free(requests); std::free(cells); }
};

}  // namespace emu
}  // namespace
