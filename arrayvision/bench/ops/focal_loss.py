"""Focal losses, against torch's own operators.

The limits are 3 times (the data read and written once, at 8 GB/s, and the arithmetic): an element of a sigmoid loss takes
about 45 operations, of its gradient 50, of a softmax's 25 and 30, at 8 lanes, one operation a cycle of 2.5 GHz and thread.
"""

from __future__ import annotations

import numpy as np

from arrayvision import get_num_threads, ops
from arrayvision.bench.measure import Case, peer, to_numpy


def limit(elements, operations, bytes_each):
    """Milliseconds, as said above."""
    return 3e3 * elements * (bytes_each / 8e9 + operations / (8 * 2.5e9 * get_num_threads()))


def close(a, b):
    """Equal but for roundings."""
    return np.allclose(to_numpy(a), to_numpy(b), rtol=1e-4, atol=1e-7)


def cases():
    """20,000 rows of 80 classes, float32."""
    rng = np.random.default_rng(0)
    n, classes = 20_000, 80
    x = rng.normal(0, 3, (n, classes)).astype(np.float32)
    target = rng.integers(0, classes + 1, n)
    known = target % classes
    one, size = np.ones((), np.float32), n * classes
    torch = peer("torch")
    sigmoid, sigmoid_backward, softmax, softmax_backward = ({} for _ in range(4))
    if torch:
        functional = torch.nn.functional
        tensor, leaf = torch.from_numpy(x), torch.from_numpy(x).requires_grad_()
        y = functional.one_hot(torch.from_numpy(target), classes + 1)[:, :classes].float()
        labels = torch.from_numpy(known)

        def sigmoid_loss(x):
            p = x.sigmoid()
            entropy = functional.binary_cross_entropy_with_logits(x, y, reduction="none")
            return (entropy * (p + y - 2 * p * y) ** 2 * (0.75 - 0.5 * y)).sum() / n

        def softmax_loss(x):
            log_p = -functional.cross_entropy(x, labels, reduction="none")
            return (-0.25 * (1 - log_p.exp()) ** 2 * log_p).mean()

        sigmoid["torch"] = lambda: sigmoid_loss(tensor)
        sigmoid_backward["torch, forward too"] = lambda: torch.autograd.grad(sigmoid_loss(leaf), leaf)
        softmax["torch"] = lambda: softmax_loss(tensor)
        softmax_backward["torch, forward too"] = lambda: torch.autograd.grad(softmax_loss(leaf), leaf)
    yield Case(
        "sigmoid_focal_loss, 20,000 x 80", lambda: ops.sigmoid_focal_loss(x, target), sigmoid,
        within=limit(size, 45, 4), agree=close,
    )  # fmt: skip
    yield Case(
        "sigmoid_focal_loss, gamma 1.5", lambda: ops.sigmoid_focal_loss(x, target, 1.5), within=limit(size, 65, 4)
    )
    yield Case(
        "sigmoid_focal_loss_backward, 20,000 x 80", lambda: ops.sigmoid_focal_loss_backward(one, x, target),
        sigmoid_backward, within=limit(size, 50, 8), agree=close,
    )  # fmt: skip
    yield Case(
        "softmax_focal_loss, 20,000 x 80", lambda: ops.softmax_focal_loss(x, known), softmax,
        within=limit(size, 25, 4), agree=close,
    )  # fmt: skip
    yield Case(
        "softmax_focal_loss_backward, 20,000 x 80", lambda: ops.softmax_focal_loss_backward(one, x, known),
        softmax_backward, within=limit(size, 30, 8), agree=close,
    )  # fmt: skip
    if torch and torch.cuda.is_available():
        on_gpu, its_labels = tensor.cuda(), torch.from_numpy(target).cuda()
        y = y.cuda()
        yield Case(
            "sigmoid_focal_loss on a GPU, 20,000 x 80", lambda: ops.sigmoid_focal_loss(on_gpu, its_labels),
            {"torch": lambda: sigmoid_loss(on_gpu)}, agree=close,
        )  # fmt: skip
