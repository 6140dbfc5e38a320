// Several channels that lie together, loaded and stored as one.
#pragma once
#include "prelude.cuh"

// V channels, as one load where V * sizeof(T) is 16.
template <class T, int V> struct __align__(V == 1 ? sizeof(T) : 16) Channels { T at[V]; };
