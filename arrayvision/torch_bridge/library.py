"""Registers an operator with torch, once: schema, kernels, fake and gradients.

`register` takes any operator; `linear`, `selecting` and `differentiable` write the commonest kinds of gradient for you::

    _roi_align = linear("roi_align", "Tensor rois, SymInt[] size, float scale", ops.roi_align, ops.roi_align_backward, shape)

Operators live in `torch.ops.arrayvision`. torch.compile, torch.export, vmap, torch.func and autocast work through them;
a kernel gets plain tensors and is an array function of `arrayvision.ops`. Needs torch 2.4 or newer.
"""

from __future__ import annotations

import sys

import torch
from torch.autograd.function import once_differentiable

from arrayvision.errors import InvalidKind
from arrayvision.torch_bridge.dtypes import is_real, result_dtype

__all__ = [
    "BelowAutograd",
    "check_tensors",
    "differentiable",
    "eager",
    "linear",
    "once_differentiable",
    "register",
    "result_dtype",
    "selecting",
    "unrecorded",
]

LIBRARY = torch.library.Library("arrayvision", "DEF")
BelowAutograd = torch._C._AutoDispatchBelowAutograd  # what torch.library's own register_autograd uses
OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)  # 2.4's Dynamo can't trace the question below


def _in_functorch():
    return not (OLD and torch.compiler.is_compiling()) and torch._C._are_functorch_transforms_active()


def eager(kernel):
    """A function of arrays without gradients, which are recorded above it, and without Dynamo, which might enter it after a graph
    break; torch._dynamo (1 s) is not imported for that."""

    def plain(*args):
        if not torch._C.is_grad_enabled():
            return kernel(*args)
        torch._C._set_grad_enabled(False)
        try:
            return kernel(*args)
        finally:
            torch._C._set_grad_enabled(True)

    disabled = torch._disable_dynamo(plain)
    return lambda *args: (disabled if "torch._dynamo" in sys.modules else plain)(*args)


def unrecorded(*args) -> bool:
    """Whether nothing but the result is wanted of a call: no gradient, graph, transform, mode, trace or profile.

    The kernel may then be called without torch's dispatcher, which costs a small call several times the kernel's time.
    """
    if (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
        or torch.autograd._profiler_enabled()
    ):
        return False
    recording = torch.is_grad_enabled()
    for a in args:
        if isinstance(a, torch.Tensor) and (
            (recording and a.requires_grad) or type(a) not in _PLAIN or not (a.is_cpu or a.is_cuda)
        ):
            return False
    return True


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def check_tensors(function: str, **given) -> None:
    """Check the arguments of a function that is made of torch's operations: tensors of real numbers on one device."""
    first = None
    for argument, x in given.items():
        if not isinstance(x, torch.Tensor):
            raise InvalidKind(f"{function}: {argument} must be a tensor, got {type(x).__name__}")
        if not is_real(x):
            raise InvalidKind(f"{function}: {argument} must hold real numbers, got dtype {x.dtype}")
        if first is None:
            first, device = argument, x.device
        elif x.device != device:
            raise InvalidKind(
                f"{function}: {first} is on {device}, {argument} is on {x.device}: give both on one device"
            )


def register(schema, kernel, fake, function=None):
    """Define an operator.

    Parameters
    ----------
    schema : str
        As torch writes it, with the operator's name: ``"gather(Tensor x, Tensor index, float scale) -> Tensor"``.
    kernel : callable
        Computes the result; called with the schema's arguments, in its order, under no_grad.
    fake : callable
        The result's shape and dtype, as tensors without values, from the same arguments, which are on one device.
    function : callable, optional
        ``function()`` gives the autograd.Function (in setup_context style) that differentiates it; its forward calls the
        operator within `BelowAutograd`. Without one, results carry no gradient.

    Returns
    -------
    callable
        What users call.
    """
    name = schema.split("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.needs_fixed_stride_order, torch.Tag.pt2_compliant_tag))
    kernel = eager(kernel)
    for device in ("CPU", "CUDA"):
        LIBRARY.impl(name, kernel, device)
    op = getattr(torch.ops.arrayvision, name).default
    arguments = [(a.name, str(a.type)) for a in op._schema.arguments]

    def checked_fake(*args):
        # Without this, a tensor without values beside a real one makes torch run the fake in the kernel's stead, and its
        # empty memory becomes the result.
        first = None
        for (argument, kind), a in zip(arguments, args, strict=True):
            if "Tensor" in kind and a is not None:
                if first is None:
                    first, device = argument, a.device
                elif a.device != device:
                    raise InvalidKind(
                        f"{name}: {first} is on {device}, {argument} is on {a.device}: give both on one device"
                    )
        return fake(*args)

    torch.library.register_fake(f"arrayvision::{name}", checked_fake, lib=LIBRARY)

    def autograd(*args):  # torch.compile, torch.export and opcheck see this; below it, nothing records gradients
        if (
            function is not None
            and torch.is_grad_enabled()
            and any(isinstance(a, torch.Tensor) and a.requires_grad for a in args)
        ):
            # Function.apply, without the 15 us in which it binds arguments by inspect.signature
            return super(torch.autograd.Function, function()).apply(*args)
        with BelowAutograd():
            return op(*args)

    LIBRARY.impl(name, autograd, "Autograd")

    def call(*args):
        if torch.compiler.is_compiling():
            return function().apply(*args) if function is not None and _in_functorch() else op(*args)
        if unrecorded(*args):
            return kernel(*args)
        if not all(_binds(a, kind) for a, (_, kind) in zip(args, arguments, strict=True)):
            return kernel(*args)  # which says what is wrong, in better words than the dispatcher's
        if function is not None and _in_functorch():
            return function().apply(*args)
        try:
            return op(*args)
        except RuntimeError as error:
            if str(error).startswith("arrayvision::"):  # a number that can't be bound
                kernel(*args)
            raise

    return call


def _binds(value, kind):
    """Whether an argument may be what the schema asks for; numbers are left to the dispatcher."""
    if "Tensor" in kind:
        return isinstance(value, torch.Tensor) or (value is None and kind.startswith("Optional"))
    return kind != "bool" or isinstance(value, (bool, torch.SymBool))


def _split(rest):
    """The arguments of a piece of schema: which are tensors."""
    return [part.strip().startswith("Tensor") for part in rest.split(", ")]


def _keep(ctx, rest, tensors):
    ctx.save_for_backward(*(a for a, t in zip(rest, tensors, strict=True) if t))
    ctx.rest = [None if t else a for a, t in zip(rest, tensors, strict=True)]


def _kept(ctx, tensors):
    saved = iter(ctx.saved_tensors)
    return [next(saved) if t else a for a, t in zip(ctx.rest, tensors, strict=True)]


def linear(name, rest, forward, backward, shape):
    """An operator that is linear in its first argument and constant in the others; differentiable any number of times.

    Parameters
    ----------
    name : str
        The operator's; `name_backward` is the other one's.
    rest : str
        Its arguments after the first, a tensor: ``"Tensor rois, SymInt[] size, float scale"``.
    forward : callable
        ``forward(input, *rest)``, the array function.
    backward : callable
        ``backward(grad, *rest, shape)``: the gradient for an input of that shape.
    shape : callable
        ``shape(input, *rest)``: the result's shape.

    Returns
    -------
    callable
        ``f(input, *rest)``.
    """
    tensors = _split(rest)
    none = (None,) * len(tensors)
    apply = register(
        f"{name}(Tensor input, {rest}) -> Tensor",
        forward,
        lambda x, *args: x.new_empty(shape(x, *args), dtype=result_dtype(x)),
        lambda: Forward,
    )
    apply_backward = register(
        f"{name}_backward(Tensor grad, {rest}, SymInt[] shape) -> Tensor",
        backward,
        lambda grad, *args: grad.new_empty(args[-1], dtype=result_dtype(grad)),
        lambda: Backward,
    )
    op = getattr(torch.ops.arrayvision, name).default
    op_backward = getattr(torch.ops.arrayvision, f"{name}_backward").default

    class Forward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args):
            with BelowAutograd():
                return op(*args)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.shape = inputs[0].shape  # the size, not the input: nothing large is kept alive
            _keep(ctx, inputs[1:], tensors)

        @staticmethod
        def backward(ctx, grad):
            return apply_backward(grad, *_kept(ctx, tensors), ctx.shape), *none

    class Backward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args):
            with BelowAutograd():
                return op_backward(*args)

        @staticmethod
        def setup_context(ctx, inputs, output):
            _keep(ctx, inputs[1:-1], tensors)

        @staticmethod
        def backward(ctx, grad):
            return apply(grad, *_kept(ctx, tensors)), *none, None

    Forward.__name__, Backward.__name__ = name, f"{name}_backward"
    return apply


def selecting(name, rest, forward, backward, shape, choices=("int32",)):
    """An operator that selects from its first argument (a maximum): it returns its result and which were selected.

    As `linear`, but `forward` returns ``(result, *which)`` (`choices` names the dtypes of these, "like" for the input's;
    all of the result's shape), `backward` is called ``backward(grad, *which, *rest, shape)``, and it is differentiable once.
    Returns ``f(input, *rest)``, which gives all results.
    """
    tensors = _split(rest)
    none = (None,) * len(tensors)
    count = len(choices)
    dtypes = [None if c == "like" else getattr(torch, c) for c in choices]
    which = ", ".join(f"Tensor which{i}" for i in range(count))

    def fake(x, *args):
        size, own = shape(x, *args), result_dtype(x)
        return x.new_empty(size, dtype=own), *(x.new_empty(size, dtype=d or own) for d in dtypes)

    apply = register(
        f"{name}(Tensor input, {rest}) -> ({', '.join(['Tensor'] * (count + 1))})", forward, fake, lambda: Forward
    )
    apply_backward = register(
        f"{name}_backward(Tensor grad, {which}, {rest}, SymInt[] shape) -> Tensor",
        backward,
        lambda grad, *args: grad.new_empty(args[-1], dtype=result_dtype(grad)),
    )
    op = getattr(torch.ops.arrayvision, name).default

    class Forward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args):
            with BelowAutograd():
                return op(*args)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.mark_non_differentiable(*output[1:])
            ctx.shape = inputs[0].shape
            _keep(ctx, (*output[1:], *inputs[1:]), [True] * count + tensors)

        @staticmethod
        @once_differentiable
        def backward(ctx, grad, *_):
            return apply_backward(grad, *_kept(ctx, [True] * count + tensors), ctx.shape), *none

    Forward.__name__ = name
    return apply


def differentiable(name, arguments, forward, backward, shape, wrt, promoted=1):
    """An operator of one result, differentiable once in its first `wrt` arguments, all of which it keeps.

    Parameters
    ----------
    name : str
        The operator's; `name_backward` is the other one's.
    arguments : str
        All its arguments: ``"Tensor input, Tensor? offset, Tensor rois, float scale"``. The first `wrt` are tensors.
    forward : callable
        ``forward(*arguments)``, the array function.
    backward : callable
        ``backward(grad, *arguments)``: a tuple of `wrt` gradients, for an argument that is None an empty tensor.
    shape : callable
        ``shape(*arguments)``: the result's shape.
    wrt : int
        How many arguments have a gradient; it is given in their dtype.
    promoted : int
        How many of the first arguments the result's dtype follows from.

    Returns
    -------
    callable
        ``f(*arguments)``.
    """
    tensors = _split(arguments)
    none = (None,) * (len(tensors) - wrt)

    def fake(*args):
        return args[0].new_empty(shape(*args), dtype=result_dtype(*args[:promoted]))

    def in_their_dtypes(grad, *args):
        found = [
            grad.new_empty(0) if a is None else g.to(result_dtype(a))
            for g, a in zip(backward(grad, *args), args, strict=False)
        ]
        return tuple(found) if wrt > 1 else found[0]

    def fake_gradients(grad, *args):
        found = [grad.new_empty(0) if a is None else a.new_empty(a.shape, dtype=result_dtype(a)) for a in args[:wrt]]
        return tuple(found) if wrt > 1 else found[0]

    apply = register(f"{name}({arguments}) -> Tensor", forward, fake, lambda: Forward)
    results = f"({', '.join(['Tensor'] * wrt)})" if wrt > 1 else "Tensor"
    gradients = register(f"{name}_backward(Tensor grad, {arguments}) -> {results}", in_their_dtypes, fake_gradients)
    op = getattr(torch.ops.arrayvision, name).default

    class Forward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args):
            with BelowAutograd():
                return op(*args)

        @staticmethod
        def setup_context(ctx, inputs, output):
            _keep(ctx, inputs, tensors)

        @staticmethod
        @once_differentiable
        def backward(ctx, grad):
            args = _kept(ctx, tensors)
            found = gradients(grad, *args)
            found = found if wrt > 1 else (found,)
            return *(None if a is None else g for a, g in zip(args, found, strict=False)), *none

    Forward.__name__ = name
    return apply
