"""Calls of usual tensors on a GPU that were made before: their launches, again.

What a function checks, allocates and launches follows from its arguments' shapes, dtypes and numbers; from call to call only
addresses differ. So the first call is watched, and if launches were all that it did, later ones allocate what it allocated,
put the new addresses among the launches' arguments, and launch. That takes half of the host's time, which is all that a small
call takes.
"""

from __future__ import annotations

import functools
import threading

MOST = 1000  # calls that are remembered
NUMBERS = {int, float, bool, str, type(None)}
_own = threading.local()


class Watch:
    """What a call allocates and launches in this thread, while this is entered; `alone` turns False where it does other things."""

    __slots__ = ("allocated", "alone", "before", "launches")

    def __init__(self):
        self.launches, self.allocated, self.alone = [], [], True

    def __enter__(self):
        self.before, _own.watch = watched(), self
        return self

    def __exit__(self, *_):
        _own.watch = self.before


def watched() -> Watch | None:
    """The watch of this thread's call, if any."""
    return getattr(_own, "watch", None)


def spoil() -> None:
    """Say that this thread's call follows from more than its arguments."""
    watch = watched()
    if watch is not None:
        watch.alone = False


def plain(numbers) -> bool:
    """Whether numbers, words and tuples of them are all that there is: what equals them later has the same value."""
    return all(plain(n) if type(n) is tuple else type(n) in NUMBERS for n in numbers)


class Again:
    """A call's launches with other addresses; ValueError, TypeError or AttributeError if there is more to it."""

    __slots__ = ("device", "launches", "made", "results")

    def __init__(self, watch, result, places, pointer):
        known = [*places, *map(pointer, watch.allocated)]
        if not watch.alone or not watch.launches or len({*known}) != len(known):
            raise ValueError("other work, or two arrays at one address")
        self.made, self.launches = [(tuple(x.shape), x.dtype) for x in watch.allocated], []
        self.device = watch.allocated[0].device
        for plan, how, args in watch.launches:
            values, slots = list(args), []
            for i in plan.arrays:
                arg = args[i]
                whole = getattr(arg, "whole", arg)  # which a part that only launches take is of
                start = pointer(whole)
                slots.append((i, known.index(start), arg.address - start if whole is not arg else 0))
                values[i] = None  # nobody's memory is kept
            self.launches.append((plan, how, values, slots))
        many = type(result) is tuple
        found = [self._which(x, len(places), known, pointer) for x in (result if many else (result,))]
        self.results = found if many else found[0]

    def _which(self, x, given, known, pointer):
        """Which of what is allocated a result is."""
        k = known.index(pointer(x)) - given
        if k < 0 or self.made[k] != (tuple(x.shape), x.dtype) or not x.is_contiguous():
            raise ValueError("a view of an array, or one that was given")
        return k

    def __call__(self, empty, places, stream):
        """The result for arrays at these addresses."""
        made = [empty(shape, dtype=dtype, device=self.device) for shape, dtype in self.made]
        places += [x.data_ptr() for x in made]
        for plan, how, template, slots in self.launches:
            values = template.copy()
            for i, k, offset in slots:
                values[i] = places[k] + offset
            plan.start(how, stream, plan.packed(values))
        results = self.results
        return made[results] if type(results) is int else tuple([made[k] for k in results])


@functools.cache
def _watching():
    """A context in which torch's own operations are seen: what is allocated, and whether there is more than that."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watching(TorchDispatchMode):
        def __init__(self, watch):
            super().__init__()
            self.watch = watch

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            out = operation(*args, **(kwargs or {}))
            if operation is torch.ops.aten.empty.memory_format:
                self.watch.allocated.append(out)
            elif not operation.is_view:
                self.watch.alone = False
            return out

    return Watching


def with_tensors(torch, library):
    """``replay(run, given, numbers)``: the result of ``run(*given, *numbers)``, whose tensors are `given`."""
    tensor, parameter, empty = torch.Tensor, torch.nn.Parameter, torch.empty
    dual, recording, seen, pointer = torch.autograd.forward_ad, torch.is_grad_enabled, {}, tensor.data_ptr

    def replay(run, given, numbers):
        if dual._current_level >= 0:
            return run(*given, *numbers)
        key, places, device = [run, numbers, *map(type, numbers)], [], None
        try:
            for x in given:
                if x is None:
                    key.append(None)
                    continue
                kind = type(x)
                if (
                    (kind is not tensor and kind is not parameter)
                    or not library.on_gpu(x.device)
                    or not x.is_contiguous()
                    or (x.requires_grad and recording())
                    or x.is_neg()
                ):
                    return run(*given, *numbers)
                place, device = x.data_ptr(), x.device
                places.append(place)
                key += x.shape, x.dtype, device, place % 16
            key = tuple(key)
            again = seen.get(key)
        except (RuntimeError, TypeError):  # sparse, or traced by torch.func; a number that isn't one
            return run(*given, *numbers)
        if again:
            return again(empty, places, library.stream(device))
        if again is not None or device is None or len({*places}) != len(places) or not plain(numbers):
            return run(*given, *numbers)
        with Watch() as watch, _watching()(watch):
            result = run(*given, *numbers)
        if len(seen) >= MOST:
            seen.clear()
        try:
            seen[key] = Again(watch, result, places, pointer)
        except (ValueError, TypeError, AttributeError, IndexError):
            seen[key] = False
        return result

    return replay
