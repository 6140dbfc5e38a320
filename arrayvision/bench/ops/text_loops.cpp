// The two operators of text detection as plain loops: a queue of pixels, vectors of rows, lists to Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

using Rows = std::vector<std::vector<int>>;
using Regions = std::vector<std::vector<float>>;
using Pixels = std::queue<std::pair<int, int>>;
constexpr int DOWN[] = {-1, 1, 0, 0}, RIGHT[] = {0, 0, -1, 1};

template <class T> const T* at(uintptr_t address) { return reinterpret_cast<const T*>(address); }

// Scale by scale, as the method has it: pixels that reach no other wait for the next scale.
Rows contour_expand(uintptr_t mask_at, uintptr_t labels_at, int scales, int h, int w, int least, int count) {
  const uint8_t* mask = at<uint8_t>(mask_at);
  const int32_t* labels = at<int32_t>(labels_at);
  std::vector<int> areas(count + 1);
  for (int i = 0; i < h * w; ++i) if (labels[i]) ++areas[labels[i]];
  Rows out(h, std::vector<int>(w));
  Pixels queue, next;
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      const int label = labels[y * w + x];
      if (label == 0 || areas[label] < least) continue;
      out[y][x] = label;
      queue.emplace(y, x);
    }
  for (int scale = scales - 2; scale >= 0; --scale) {
    while (!queue.empty()) {
      const auto [y, x] = queue.front();
      queue.pop();
      bool edge = true;
      for (int d = 0; d < 4; ++d) {
        const int v = y + DOWN[d], u = x + RIGHT[d];
        if (v < 0 || v >= h || u < 0 || u >= w || !mask[v * w + u] || out[v][u] > 0) continue;
        out[v][u] = out[y][x];
        queue.emplace(v, u);
        edge = false;
      }
      if (edge) next.emplace(y, x);
    }
    std::swap(queue, next);
  }
  return out;
}

Regions pixel_group(uintptr_t score_at, uintptr_t mask_at, uintptr_t embedding_at, uintptr_t labels_at, uintptr_t contour_at, int h, int w, int size, int count, float threshold) {
  const float *score = at<float>(score_at), *embedding = at<float>(embedding_at);
  const uint8_t *mask = at<uint8_t>(mask_at), *contour = at<uint8_t>(contour_at);
  const int32_t* labels = at<int32_t>(labels_at);
  std::vector<int32_t> text(labels, labels + h * w);
  Regions centers(count, std::vector<float>(size + 1)), out(count, std::vector<float>(2));
  Pixels queue;
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      const int label = labels[y * w + x];
      if (label <= 0) continue;
      for (int d = 0; d < size; ++d) centers[label][d] += embedding[(y * w + x) * size + d];
      centers[label][size] += 1;
      if (contour[y * w + x]) queue.emplace(y, x);
    }
  for (auto& center : centers) for (int d = 0; d < size; ++d) center[d] /= center[size];
  while (!queue.empty()) {
    const auto [y, x] = queue.front();
    queue.pop();
    const int label = text[y * w + x];
    for (int d = 0; d < 4; ++d) {
      const int v = y + DOWN[d], u = x + RIGHT[d];
      if (v < 0 || v >= h || u < 0 || u >= w || !mask[v * w + u] || text[v * w + u] > 0) continue;
      float distance = 0;
      for (int k = 0; k < size; ++k) {
        const float apart = centers[label][k] - embedding[(v * w + u) * size + k];
        distance += apart * apart;
      }
      if (distance >= threshold * threshold) continue;
      text[v * w + u] = label;
      queue.emplace(v, u);
    }
  }
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      const int label = text[y * w + x];
      if (label <= 0) continue;
      out[label][0] += score[y * w + x];
      out[label][1] += 1;
      out[label].push_back(float(x));
      out[label].push_back(float(y));
    }
  for (auto& region : out) if (region[1] > 0) region[0] /= region[1];
  return out;
}

PYBIND11_MODULE(text_loops, module) {
  module.def("contour_expand", &contour_expand);
  module.def("pixel_group", &pixel_group);
}
