// BezierAlign (roi_bins.cuh).
#include "region_bezier.cuh"
#include "roi_bins.cuh"
