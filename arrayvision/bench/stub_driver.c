// A driver without a GPU: it answers what a launch asks for and calls back what is launched, or launches nothing.
#include <stdlib.h>
#include <string.h>
typedef int (*hook_t)(const char* kernel, const unsigned* grid, const unsigned* block, unsigned shared, void* stream, void** args);
static hook_t hook;
static int version = 13000, arch = 90, failing;
static __thread void* current;
static char* primary[8];
static int loads, preloads, attributes;

void stub_hook(hook_t h) { hook = h; }
void stub_set(int v, int a, int f) { version = v, arch = a, failing = f; }
void stub_current(void* c) { current = c; }
void stub_counts(int* out) { out[0] = loads, out[1] = preloads, out[2] = attributes; }

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* v) { *v = version; return 0; }
int cuGetErrorName(int e, const char** s) { *s = e == 218 ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR_INVALID_VALUE"; return 0; }
int cuGetErrorString(int e, const char** s) { *s = e == 218 ? "a PTX JIT compilation failed" : "invalid argument"; return 0; }
int cuDeviceGet(int* d, int ordinal) { if (ordinal < 0 || ordinal > 7) return 101; *d = ordinal; return 0; }
int cuDeviceGetAttribute(int* v, int attribute, int device) { *v = attribute == 75 ? arch / 10 : attribute == 97 ? 101376 : attribute == 87 ? (arch % 10 ? 64 : 2) : arch % 10; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int d) { if (!primary[d]) primary[d] = malloc(1); *c = primary[d]; return 0; }
int cuCtxGetCurrent(void** c) { *c = current; return 0; }
int cuCtxSetCurrent(void* c) { current = c; return 0; }
int cuModuleLoadData(void** m, const char* code) { if (failing) return 218; ++loads; *m = malloc(1); return 0; }
int cuModuleGetFunction(void** f, void* m, const char* name) { *f = strdup(name); return 0; }
int cuFuncLoad(void* f) { ++preloads; return 0; }
int cuFuncSetAttribute(void* f, int attribute, int value) { ++attributes; return 0; }
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* stream, void** args, void** extra) {
  if (bx > 1024 || !current) return 1;
  unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  return hook ? hook(f, grid, block, shared, stream, args) : 0;
}
