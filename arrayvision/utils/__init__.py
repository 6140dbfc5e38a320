"""What this machine offers, and helpers that older code expects."""

from arrayvision.utils.device import (
    IS_CUDA_AVAILABLE,
    IS_MLU_AVAILABLE,
    IS_MPS_AVAILABLE,
    IS_MUSA_AVAILABLE,
    IS_NPU_AVAILABLE,
)
from arrayvision.utils.env import collect_env
from arrayvision.utils.jit import jit, skip_no_elena

__all__ = [
    "IS_CUDA_AVAILABLE",
    "IS_MLU_AVAILABLE",
    "IS_MPS_AVAILABLE",
    "IS_MUSA_AVAILABLE",
    "IS_NPU_AVAILABLE",
    "collect_env",
    "jit",
    "skip_no_elena",
]
