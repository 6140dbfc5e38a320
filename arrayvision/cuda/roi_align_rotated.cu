// RoIAlign of rotated regions (roi_bins.cuh).
#include "region_rotated.cuh"
#include "roi_bins.cuh"
#include "roi_samples.cuh"
