"""CUDA C++ kernels (`*.cu`) and, beside each, the Python that launches it; `runtime` compiles and launches."""
