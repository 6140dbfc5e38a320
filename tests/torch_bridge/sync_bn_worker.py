"""A worker of tests of SyncBatchNorm: `python -m tests.torch_bridge.sync_bn_worker RANK FOLDER`, one for each rank below 2."""

import pathlib
import sys

import torch
import torch.distributed as dist

from arrayvision.torch_bridge.ops import SyncBatchNorm

# Each: the mode, how many samples both workers have, the rest of the shape.
CASES = [
    ("default", (3, 3), (2, 4, 5)),
    ("N", (3, 3), (2, 4, 5)),
    ("N", (4, 1), (3, 6)),
    ("N", (3, 0), (2, 4, 5)),
    ("N", (0, 2), (5,)),
    ("default", (0, 4), (2, 4, 5)),
    ("default", (1, 4), (2, 4, 5)),
    ("default", (0, 0), (2, 4, 5)),
    ("N", (1, 0), (3,)),
]


def batch(case):
    """All samples of a case, and the gradients that arrive; of no samples too."""
    generator = torch.Generator().manual_seed(CASES.index(case))
    _, counts, shape = case
    return torch.randn(2, sum(counts), *shape, dtype=torch.float64, generator=generator) * 3 + 1


def norm(case, dtype=torch.float64, **arguments):
    """The layer of a case, the same on both workers."""
    mode, _, shape = case
    layer = SyncBatchNorm(shape[0], stats_mode=mode, **arguments)
    if layer.affine:
        with torch.no_grad():
            layer.weight.copy_(torch.arange(shape[0]) * 0.5 - 1)
            layer.bias.copy_(torch.arange(shape[0]))
    return layer.to(dtype)


def step(case, part, **arguments):
    """Result, gradients and running statistics of a worker's part."""
    x, grad = (values[part].clone() for values in batch(case))
    layer = norm(case, **arguments)
    out = layer(x.requires_grad_())
    out.backward(grad)
    found = [out.detach(), x.grad, layer.running_mean, layer.running_var]
    return found + ([layer.weight.grad, layer.bias.grad] if layer.affine else [])


def main(rank, folder):
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", store, rank=rank, world_size=2)
    parts = [slice(0, counts[0]) if rank == 0 else slice(counts[0], None) for _, counts, _ in CASES]
    found = [step(case, part) for case, part in zip(CASES, parts, strict=True)]
    plain = step(CASES[0], parts[0], affine=False)
    half = norm(CASES[0], torch.float32)(batch(CASES[0])[0][parts[0]].bfloat16()).detach()
    shown = repr(norm(CASES[1]))
    alone = dist.new_group([0]), dist.new_group([1])
    groups = step(CASES[2], parts[2], group=alone[rank])
    torch.save((found, plain, half, shown, groups), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), pathlib.Path(sys.argv[2]))
