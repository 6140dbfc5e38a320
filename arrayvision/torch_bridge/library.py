"""Registers an operator with torch, once: schema, kernels, fake and gradients.

`register` takes any operator, and a `Gradient` where it has one; `linear`, `bilinear`, `selecting` and `differentiable`
write the commonest kinds of gradient for you::

    _roi_align = linear("roi_align", "Tensor rois, SymInt[] size, float scale", ops.roi_align, ops.roi_align_backward, shape)

Arguments are written as in torch's schemas: ``Tensor``, ``Tensor?``, ``Tensor[]``, ``float``, ``int``, ``bool``, ``str``,
``SymInt[]`` and so on, with a default behind ``=`` if you like.

Operators live in `torch.ops.arrayvision`. torch.compile, torch.export, vmap, torch.func and autocast work through them;
a kernel gets plain tensors and is an array function of `arrayvision.ops`. Needs torch 2.4 or newer.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.dtypes import is_real, result_dtype

__all__ = [
    "BelowAutograd",
    "Gradient",
    "bilinear",
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


def _decomposing():
    """Whether a graph is rewritten in other operators, rather than recorded."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FUNCTIONAL) is not None


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

    return _out_of_dynamo(plain)


def _out_of_dynamo(function):
    disabled = torch._disable_dynamo(function)
    if _frame_hook is None:
        return lambda *args: (disabled if "torch._dynamo" in sys.modules else function)(*args)
    return lambda *args: (function if _frame_hook() is None else disabled)(*args)


# Whether Dynamo looks at the functions that are called now; torch 2.4 doesn't tell.
_frame_hook = getattr(torch._C._dynamo.eval_frame, "get_eval_frame_callback", None)


def unrecorded(*args) -> bool:
    """Whether nothing but the result is wanted of a call: no gradient, graph, transform, mode, trace or profile.

    The kernel may then be called without torch's dispatcher, which costs a small call several times the kernel's time.
    """
    if (
        torch.compiler.is_compiling()
        or _dispatch_modes()
        or _function_modes()
        or _transforms()
        or _forward_ad._current_level >= 0
        or _trace() is not None
        or _profiled()
    ):
        return False
    recording = _recording()
    for a in args:
        if isinstance(a, _Tensor):
            if (recording and a.requires_grad) or type(a) not in _PLAIN or not (a.is_cpu or a.is_cuda):
                return False
        elif type(a) in _LISTS and not unrecorded(*a):
            return False
    return True


# Looked up once: in a small call, attributes of modules take as long as what they name.
_Tensor, _forward_ad, _recording, _profiled = (
    torch.Tensor, torch.autograd.forward_ad, torch.is_grad_enabled, torch.autograd._profiler_enabled,
)  # fmt: skip
_dispatch_modes, _function_modes = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack
_transforms, _trace = torch._C._are_functorch_transforms_active, torch._C._get_tracing_state
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_LISTS = (list, tuple)


def check_tensors(function: str, **given) -> list:
    """Check the arguments of a function that is made of torch's operations: tensors of real numbers on one device.

    Returns them as floats; integers count as float32, as in the array functions.
    """
    first, found = None, []
    for argument, x in given.items():
        if not isinstance(x, torch.Tensor):
            raise InvalidKind(f"{function}: {argument} must be a tensor, got {type(x).__name__}")
        if x.is_quantized:
            raise InvalidKind(f"{function}: {argument} is quantized: give {argument}.dequantize()")
        if not is_real(x):
            raise InvalidKind(f"{function}: {argument} must hold real numbers, got dtype {x.dtype}")
        if x.layout is not torch.strided:
            raise InvalidKind(f"{function}: {argument} is a sparse tensor ({x.layout}): give {argument}.to_dense()")
        if first is None:
            first, device = argument, x.device
        elif x.device != device:
            raise InvalidKind(
                f"{function}: {first} is on {device}, {argument} is on {x.device}: give both on one device"
            )
        found.append(x.to(result_dtype(x)))
    return found


class Argument(NamedTuple):
    """One of a schema's arguments: its name, its type as the schema has it, and its default."""

    name: str
    kind: str
    default: object
    text: str  # without the default

    @property
    def listed(self) -> bool:
        """Whether it is a list of tensors."""
        return self.kind in ("Tensor[]", "Tensor?[]")


def _pieces(text):
    """The parts of a piece of schema between commas that stand in no brackets, without defaults."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "[(") - (c in ")]")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [part.partition("=")[0].strip() for part in parts if part.strip()]


def _joined(*texts):
    return ", ".join(text for text in texts if text)


class Gradient(NamedTuple):
    """How an operator is differentiated.

    Attributes
    ----------
    function : callable
        ``function(call, *grads)``, with a gradient for each result, gives those of the first arguments, a list for a list
        of tensors; the others have none. `call` has `args` (the operator's arguments, None for tensors that aren't kept),
        `shapes` (theirs, None for what isn't a tensor), `results` (those kept) and `needed` (whether an argument's gradient
        is asked for).
    unkept : ints
        Tensor arguments that aren't kept for the gradient, so that nothing large is kept alive.
    results : ints
        Results that are.
    constant : ints
        Results that have no gradient.
    once : bool
        Whether `function` isn't differentiable itself; asking for its derivatives is an error then.
    """

    function: Callable
    unkept: Sequence[int] = ()
    results: Sequence[int] = ()
    constant: Sequence[int] = ()
    once: bool = True


class _Kept(NamedTuple):
    """Where a tensor stands among those that are saved."""

    position: int


def _save(value, saved):
    """The value, its tensors moved to `saved`."""
    if isinstance(value, torch.Tensor):
        saved.append(value)
        return _Kept(len(saved) - 1)
    return [_save(v, saved) for v in value] if type(value) in _LISTS else value


def _restore(value, saved):
    if type(value) is _Kept:
        return saved[value.position]
    return [_restore(v, saved) for v in value] if type(value) is list else value


def _shape_of(value):
    if isinstance(value, torch.Tensor):
        return value.shape
    return [_shape_of(v) for v in value] if type(value) in _LISTS else None


def _flatten(args, lists):
    """The lengths of lists of tensors, and all arguments without them: autograd sees no tensors in lists."""
    if not lists:
        return (), *args
    lengths = tuple(len(args[i]) for i in lists)
    flat = [x for i, a in enumerate(args) for x in (a if i in lists else (a,))]
    return lengths, *flat


def _nest(lengths, flat, lists):
    """The arguments that `_flatten` was given."""
    if not lists:
        return list(flat)
    args, at, lengths = [], 0, iter(lengths)
    while at < len(flat):
        if len(args) in lists:
            n = next(lengths)
            args.append(list(flat[at : at + n]))
            at += n
        else:
            args.append(flat[at])
            at += 1
    args += [[] for _ in lengths]  # lists of nothing behind all others
    return args


def _function(name, op, lists, gradient):
    """The autograd.Function of an operator, whose arguments are the lengths of its lists of tensors, and all others."""

    def backward(ctx, *grads):
        saved = ctx.saved_tensors
        needed = _nest(ctx.lengths, ctx.needs_input_grad[1:], lists)
        call = SimpleNamespace(
            args=_restore(ctx.args, saved), results=_restore(ctx.results, saved), shapes=ctx.shapes, needed=needed
        )
        found = list(gradient.function(call, *grads))
        found += [[None] * len(n) if i in lists else None for i, n in enumerate(needed) if i >= len(found)]
        return None, *_flatten(found, lists)[1:]

    def forward(lengths, *flat):
        with BelowAutograd():
            return op(*_nest(lengths, flat, lists))

    def setup_context(ctx, inputs, output):
        lengths, *flat = inputs
        args = _nest(lengths, flat, lists)
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        if gradient.constant:
            ctx.mark_non_differentiable(*(outputs[i] for i in gradient.constant))
        saved: list = []
        ctx.lengths, ctx.shapes = lengths, [_shape_of(a) for a in args]
        ctx.args = [None if i in gradient.unkept else _save(a, saved) for i, a in enumerate(args)]
        ctx.results = [_save(outputs[i], saved) for i in gradient.results]
        ctx.save_for_backward(*saved)

    members = {"forward": forward, "setup_context": setup_context}
    members["backward"] = once_differentiable(backward) if gradient.once else backward
    return type(
        name,
        (torch.autograd.Function,),
        {k: staticmethod(f) for k, f in members.items()} | {"generate_vmap_rule": True},
    )


def register(schema, kernel, fake, gradient=None, public=None):
    """Define an operator.

    Parameters
    ----------
    schema : str
        As torch writes it, with the operator's name: ``"gather(Tensor x, Tensor index, float scale=1.0) -> Tensor"``.
    kernel : callable
        Computes the result; called with the schema's arguments, in its order, under no_grad.
    fake : callable
        The result's shape and dtype, as tensors without values, from the same arguments, which are on one device.
    gradient : Gradient, optional
        Without one, results carry no gradient.
    public : str, optional
        The function's name, with which errors begin, where it isn't the operator's.

    Returns
    -------
    callable
        What users call.
    """
    name = schema.split("(")[0]
    public = public or name
    LIBRARY.define(schema, tags=(torch.Tag.needs_fixed_stride_order, torch.Tag.pt2_compliant_tag))
    op = getattr(torch.ops.arrayvision, name).default
    pieces = _pieces(schema.partition("(")[2].rpartition("->")[0].rstrip().removesuffix(")"))
    arguments = [
        Argument(a.name, piece.rpartition(" ")[0], a.default_value, piece)
        for a, piece in zip(op._schema.arguments, pieces, strict=True)
    ]
    defaults = tuple(a.default for a in arguments)
    positions = [i for i, a in enumerate(arguments) if a.kind.startswith("Tensor")]
    tensors = operator.itemgetter(*positions) if len(positions) > 1 else lambda args: (args[positions[0]],)
    count, lists = len(arguments), tuple(i for i, a in enumerate(arguments) if a.listed)

    def whole(args):
        """All arguments: torch leaves out those at the end that are the schema's defaults."""
        return args if len(args) == count else (*args, *defaults[len(args) :])

    direct = _out_of_dynamo(kernel)  # for calls of which nothing is recorded: they need no switch of gradients
    kernel = eager(kernel)
    for device in ("CPU", "CUDA"):
        LIBRARY.impl(name, lambda *args: kernel(*whole(args)), device)

    def checked_fake(*args):
        # Without this, a tensor without values beside a real one makes torch run the fake in the kernel's stead, and its
        # empty memory becomes the result.
        args = whole(args)
        first = None
        for argument, x in _tensors(arguments, args):
            if first is None:
                first, device = argument, x.device
            elif x.device != device:
                raise InvalidKind(
                    f"{public}: {first} is on {device}, {argument} is on {x.device}: give both on one device"
                )
        try:
            return fake(*args)
        except IndexError:  # a shape of too few sizes
            shapes = ", ".join(f"{argument} {tuple(x.shape)}" for argument, x in _tensors(arguments, args))
            raise InvalidValue(f"{public}: arguments must have shapes that fit, got {shapes}") from None
        except RuntimeError as error:
            if "negative dimension" not in str(error):
                raise
            sizes = ", ".join(f"{a.name} {x}" for a, x in zip(arguments, args, strict=True) if isinstance(x, int))
            raise InvalidValue(f"{public}: sizes must be at least 0, got {sizes}") from None

    torch.library.register_fake(f"arrayvision::{name}", checked_fake, lib=LIBRARY)
    function = None if gradient is None else _function(name, op, lists, gradient)

    def autograd(*args):  # torch.compile, torch.export and opcheck see this; below it, nothing records gradients
        args = whole(args)
        if torch._C._len_torch_dispatch_stack() and torch.onnx.is_in_onnx_export() and _decomposing():
            from arrayvision.torch_bridge.onnx import translate

            return translate(name, args)
        if (
            function is not None
            and torch.is_grad_enabled()
            and any(x.requires_grad for _, x in _tensors(arguments, args))
        ):
            # Function.apply, without the 15 us in which it binds arguments by inspect.signature
            return super(torch.autograd.Function, function).apply(*_flatten(args, lists))
        with BelowAutograd():
            return op(*args)

    LIBRARY.impl(name, autograd, "Autograd")

    LIBRARY.impl(name, lambda *args: _one_by_one(public, op, whole(args)), "FuncTorchBatched")

    def call(*args):
        if len(args) != count:
            args = whole(args)
        if torch.compiler.is_compiling():
            return function.apply(*_flatten(args, lists)) if function is not None and _in_functorch() else op(*args)
        if unrecorded(*tensors(args)):
            return direct(*args)
        if not all(_is_kind(a, argument.kind) for a, argument in zip(args, arguments, strict=True)):
            return kernel(*args)  # which says what is wrong, in better words than the dispatcher's
        try:
            args = [_bound(public, argument, a) for a, argument in zip(args, arguments, strict=True)]
        except (InvalidKind, InvalidValue):
            kernel(*args)  # whose error is the same, or says more
            raise
        if function is not None and _in_functorch():
            return function.apply(*_flatten(args, lists))
        try:
            return op(*args)
        except RuntimeError as error:
            if "arrayvision::" not in str(error) and not isinstance(error, NotImplementedError):
                raise
        # The dispatcher has no kernel for these tensors (sparse, quantized ...): the array function says so in words.
        return kernel(*args)

    return call


def _tensors(arguments, args):
    """The tensors among arguments, lists' too, and their names."""
    for argument, a in zip(arguments, args, strict=True):
        if isinstance(a, torch.Tensor):
            yield argument.name, a
        elif argument.listed:
            yield from ((f"{argument.name}[{i}]", x) for i, x in enumerate(a) if x is not None)


def _one_by_one(function, op, args):
    """An operator under vmap: it sees the examples one by one. torch's own way takes no lists, and warns that it is slow."""
    from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
    from torch._functorch.vmap import unwrap_batched

    interpreter = retrieve_current_functorch_interpreter()
    level, size = interpreter.level(), interpreter.batch_size()
    if size == 0:
        raise InvalidValue(f"{function}: vmap must run over at least one example, got none")
    args, dims = unwrap_batched(args, level)
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.FuncTorchBatched)):
        found = [op(*(_example(a, dim, k) for a, dim in zip(args, dims, strict=True))) for k in range(size)]
        return _stacked(function, found, level)


def _example(value, dim, k):
    if type(value) in _LISTS and type(dim) in _LISTS:
        return [_example(v, d, k) for v, d in zip(value, dim, strict=True)]
    return value if dim is None else value.select(dim, k)


def _stacked(function, found, level):
    if type(found[0]) in _LISTS:
        return type(found[0])(_stacked(function, each, level) for each in zip(*found, strict=True))
    if any(x.shape != found[0].shape for x in found):
        raise InvalidValue(f"{function}: under vmap all examples must have results of one shape, which these haven't")
    return torch._C._functorch._add_batch_dim(torch.stack(found), 0, level)


def _is_kind(value, kind):
    """Whether an argument's tensors are where the schema has tensors, and nowhere else but for numbers."""
    if kind == "Tensor":
        return isinstance(value, torch.Tensor)
    if kind == "Tensor?":
        return value is None or isinstance(value, torch.Tensor)
    if kind == "Tensor[]":
        return type(value) in _LISTS and all(isinstance(v, torch.Tensor) for v in value)
    if kind == "Tensor?[]":
        return type(value) in _LISTS and all(v is None or isinstance(v, torch.Tensor) for v in value)
    return kind != "str" or isinstance(value, str)


def _bound(function, argument, value):
    """A number as the dispatcher takes it, or an error in our words."""
    name, kind, _, _ = argument
    if type(value) in _BINDS.get(kind, ()):
        return value
    if kind == "float" and not isinstance(value, torch.SymFloat):
        return check.number(function, name, value)
    if kind in ("int", "SymInt") and not isinstance(value, torch.SymInt):
        return check.integer(function, name, value)
    if kind == "bool" and not isinstance(value, torch.SymBool):
        return check.flag(function, name, value)
    return value


_BINDS = {"float": (float,), "bool": (bool,), "str": (str,)}


def linear(name, rest, forward, backward, shape, public=None):
    """An operator that is linear in its first argument and constant in the others; differentiable any number of times.

    Parameters
    ----------
    name : str
        The operator's; `name_backward` is the other one's.
    rest : str
        Its arguments after the first, a tensor: ``"Tensor rois, SymInt[] size, float scale"``; "" for none.
    forward : callable
        ``forward(input, *rest)``, the array function.
    backward : callable
        ``backward(grad, *rest, shape)``: the gradient for an input of that shape.
    shape : callable
        ``shape(input, *rest)``: the result's shape.
    public : str, optional
        The function's name, with which errors begin, where it isn't the operator's.

    Returns
    -------
    callable
        ``f(input, *rest)``.
    """
    apply = register(
        f"{name}({_joined('Tensor input', rest)}) -> Tensor",
        forward,
        lambda x, *args: x.new_empty(shape(x, *args), dtype=result_dtype(x)),
        # the size, not the input, is kept: nothing large stays alive
        Gradient(lambda call, grad: (apply_backward(grad, *call.args[1:], call.shapes[0]),), unkept=(0,), once=False),
        public,
    )
    apply_backward = register(
        f"{name}_backward({_joined('Tensor grad', *_pieces(rest), 'SymInt[] shape')}) -> Tensor",
        backward,
        lambda grad, *args: grad.new_empty(args[-1], dtype=result_dtype(grad)),
        Gradient(lambda call, grad: (apply(grad, *call.args[1:-1]),), unkept=(0,), once=False),
    )
    return apply


def bilinear(name, rest, forward, by_first, by_second, shape, public=None):
    """An operator that is linear in each of its first two arguments, and constant in the others; differentiable any number
    of times.

    Parameters
    ----------
    name : str
        The operator's; `name_by_first` and `name_by_second` are those of its gradients.
    rest : str
        Its arguments after these two, which are tensors; "" for none.
    forward : callable
        ``forward(first, second, *rest)``, the array function.
    by_first, by_second : callable
        ``by_first(grad, second, *rest, shape)``: the gradient for a first argument of that shape; by_second likewise.
    shape : callable
        ``shape(first, second, *rest)``: the result's shape.
    public : str, optional
        The function's name, with which errors begin, where it isn't the operator's.

    Returns
    -------
    callable
        ``f(first, second, *rest)``.
    """

    def of_this(call, grad):
        first, second, *others = call.args
        return (
            apply_first(grad, second, *others, call.shapes[0]) if call.needed[0] else None,
            apply_second(grad, first, *others, call.shapes[1]) if call.needed[1] else None,
        )

    def of_first(call, moved):  # `moved` is as large as the first argument, and what it is multiplied by is the same
        grad, second, *others, _ = call.args
        return (
            apply(moved, second, *others) if call.needed[0] else None,
            apply_second(grad, moved, *others, call.shapes[1]) if call.needed[1] else None,
        )

    def of_second(call, moved):
        grad, first, *others, _ = call.args
        return (
            apply(first, moved, *others) if call.needed[0] else None,
            apply_first(grad, moved, *others, call.shapes[1]) if call.needed[1] else None,
        )

    def fake(x, y, *args):
        return x.new_empty(shape(x, y, *args), dtype=result_dtype(x, y))

    def fake_gradient(grad, other, *args):
        return grad.new_empty(args[-1], dtype=result_dtype(grad, other))

    arguments = _joined("Tensor first", "Tensor second", rest)
    apply = register(f"{name}({arguments}) -> Tensor", forward, fake, Gradient(of_this, once=False), public)
    found = []
    for which, kernel, gradient in (("first", by_first, of_first), ("second", by_second, of_second)):
        arguments = _joined("Tensor grad", "Tensor other", *_pieces(rest), "SymInt[] shape")
        schema = f"{name}_by_{which}({arguments}) -> Tensor"
        found.append(register(schema, kernel, fake_gradient, Gradient(gradient, once=False)))
    apply_first, apply_second = found
    return apply


def selecting(name, rest, forward, backward, shape, choices=("int32",), public=None):
    """An operator that selects from its first argument (a maximum): it returns its result and which were selected.

    As `linear`, but `forward` returns ``(result, *which)`` (`choices` names the dtypes of these, "like" for the input's;
    all of the result's shape), `backward` is called ``backward(grad, *which, *rest, shape)``, and it is differentiable once.
    Returns ``f(input, *rest)``, which gives all results.
    """
    indices = range(1, len(choices) + 1)
    dtypes = [None if c == "like" else getattr(torch, c) for c in choices]

    def fake(x, *args):
        size, own = shape(x, *args), result_dtype(x)
        return x.new_empty(size, dtype=own), *(x.new_empty(size, dtype=d or own) for d in dtypes)

    apply = register(
        f"{name}({_joined('Tensor input', rest)}) -> ({', '.join(['Tensor'] * (len(choices) + 1))})",
        forward,
        fake,
        Gradient(
            lambda call, grad, *_: (apply_backward(grad, *call.results, *call.args[1:], call.shapes[0]),),
            unkept=(0,),
            results=indices,
            constant=indices,
        ),
        public,
    )
    which = [f"Tensor which{i}" for i in range(len(choices))]
    apply_backward = register(
        f"{name}_backward({_joined('Tensor grad', *which, *_pieces(rest), 'SymInt[] shape')}) -> Tensor",
        backward,
        lambda grad, *args: grad.new_empty(args[-1], dtype=result_dtype(grad)),
    )
    return apply


def differentiable(name, arguments, forward, backward, shape, wrt, promoted=1, public=None):
    """An operator of one result, differentiable once in its first `wrt` arguments, all of which it keeps.

    Parameters
    ----------
    name : str
        The operator's; `name_backward` is the other one's.
    arguments : str
        All its arguments: ``"Tensor input, Tensor? offset, Tensor rois, float scale"``. The first `wrt` are tensors, or
        lists of tensors.
    forward : callable
        ``forward(*arguments)``, the array function.
    backward : callable
        ``backward(grad, *arguments)``: a tuple of `wrt` gradients, a list for a list of tensors, for an argument that is
        None an empty tensor.
    shape : callable
        ``shape(*arguments)``: the result's shape.
    wrt : int
        How many arguments have a gradient; it is given in their dtype.
    promoted : int
        How many of the first arguments the result's dtype follows from.
    public : str, optional
        The function's name, with which errors begin, where it isn't the operator's.

    Returns
    -------
    callable
        ``f(*arguments)``.
    """
    results = ["Tensor[]" if piece.startswith("Tensor[]") else "Tensor" for piece in _pieces(arguments)[:wrt]]

    def alone(found):
        return tuple(found) if wrt > 1 else found[0]

    def fake(*args):
        first = args[:promoted]
        tensors = [x for a in first for x in (a if type(a) in _LISTS else [a])]
        return tensors[0].new_empty(shape(*args), dtype=result_dtype(*tensors))

    def in_its_dtype(gradient, argument, grad):
        if type(argument) in _LISTS:
            return [in_its_dtype(g, a, grad) for g, a in zip(gradient, argument, strict=True)]
        return grad.new_empty(0) if argument is None else gradient.to(result_dtype(argument))

    def in_their_dtypes(grad, *args):
        return alone([in_its_dtype(g, a, grad) for g, a in zip(backward(grad, *args), args[:wrt], strict=True)])

    def like(argument, grad):
        if type(argument) in _LISTS:
            return [like(a, grad) for a in argument]
        if argument is None:
            return grad.new_empty(0)
        return argument.new_empty(argument.shape, dtype=result_dtype(argument))

    def found(call, grad):
        gradients = apply_backward(grad, *call.args)
        gradients = gradients if wrt > 1 else (gradients,)
        return [None if a is None else g for a, g in zip(call.args, gradients, strict=False)]

    apply = register(f"{name}({arguments}) -> Tensor", forward, fake, Gradient(found), public)
    apply_backward = register(
        f"{name}_backward({_joined('Tensor grad', *_pieces(arguments))}) -> "
        + (f"({', '.join(results)})" if wrt > 1 else results[0]),
        in_their_dtypes,
        lambda grad, *args: alone([like(a, grad) for a in args[:wrt]]),
    )
    return apply
