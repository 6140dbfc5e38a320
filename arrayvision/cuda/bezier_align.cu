// BezierAlign (roi_bins.cuh).
#include "prelude.cuh"
#include "roi_bins.cuh"
