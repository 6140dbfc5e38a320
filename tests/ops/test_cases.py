"""Every case of every operator: over libraries, dtypes, layouts and back ends, empty, on other threads, and given nonsense.

Rows of a covering design are tried, not all combinations: any two of a library, a dtype and a layout meet in one of them.
"""

import functools
import inspect

import numpy as np
import pytest

from arrayvision import array, cases, get_num_threads, ops, set_num_threads
from arrayvision.operators import OPERATORS
from tests.conftest import Library, on_backends, use

CASES = cases.cases()
LIBRARIES = ("numpy", "torch", "jax", "array_api_strict")
DTYPES = ("float32", "float64", "float16", "bfloat16")
LAYOUTS = ("contiguous", "transposed", "strided", "reversed")
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
# Two orthogonal Latin squares of order 4: the field of four elements.
TIMES_2 = (0, 2, 3, 1)
ROWS = [
    (LIBRARIES[i], DTYPES[j], LAYOUTS[i ^ j], ("cpu", "emulated")[(TIMES_2[i] ^ j) & 1])
    for i in range(4)
    for j in range(4)
]
every = pytest.mark.parametrize("case", CASES, ids=str)


def laid_out(x, layout, library):
    """The same values, in another order of memory where the library has such."""
    if x.ndim == 0 or layout == "contiguous" or library == "jax":
        return x
    if layout == "transposed":
        return x.T.copy().T
    if layout == "strided":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    return x[::-1].copy()[::-1] if library == "numpy" else laid_out(x, "transposed", library)


def given(library, x, layout):
    """As the library's array."""
    if library.name == "torch" and not library.gpu and x.dtype.name != "bfloat16":
        import torch

        return torch.from_numpy(laid_out(x, layout, "torch"))
    made = library.asarray(laid_out(x, layout, library.name) if not library.gpu else x)
    if library.name == "torch":  # a copy: laid out anew
        return made.T.contiguous().T if x.ndim == 2 else made
    return made


def check(case, got, inputs, dtype):
    expected = case.expected(inputs)
    got = got if isinstance(got, (tuple, list)) else (got,)
    assert len(got) == len(expected)
    largest = max([1.0, *(np.abs(x[np.isfinite(x)]).max(initial=0) for x in expected if x.dtype.kind == "f")])
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        if b.dtype.kind in "biu":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(
                a.astype(np.float64), b, rtol=case.tolerance * EPS[dtype], atol=case.tolerance * EPS[dtype] * largest
            )


def numpy_of(library, out):
    return [library.numpy(x) for x in (out if isinstance(out, (tuple, list)) else (out,))]


PLACES = on_backends(((case, *row) for case in CASES for row in ROWS), lambda value: value[-1])


@pytest.mark.parametrize(("case", "name", "dtype", "layout", "own", "backend"), PLACES, ids=str)
def test_values(case, name, dtype, layout, own, backend, monkeypatch):
    if name == "array_api_strict" and backend == "cuda":
        name = "numpy"  # CuPy
    use(backend, monkeypatch)
    library = Library(name, backend)
    if not library.has(dtype):
        dtype = "float32"
    inputs = case.inputs_in(array.numpy_dtype(dtype))
    before = {n: x.copy() for n, x in inputs.items()}
    arrays = {n: given(library, x, layout) for n, x in inputs.items()}
    out = getattr(ops, case.function)(**arrays, **case.arguments)
    assert all(library.owns(x) for x in (out if isinstance(out, (tuple, list)) else (out,)))
    found = numpy_of(library, out)
    if any(x.dtype.kind == "f" for x in case.inputs.values()) and np.asarray(found[0]).dtype.kind == "f":
        first = out[0] if isinstance(out, (tuple, list)) else out
        assert array.library_of(first).dtype(first) == dtype
    check(case, found, inputs, dtype)
    for n, x in inputs.items():
        np.testing.assert_array_equal(x, before[n])


def letters(case):
    return sorted({word for text in case.shapes.values() for word in text.split() if not word.isdigit()})


EMPTY = [(case, letter) for case in CASES for letter in letters(case)]


@pytest.mark.parametrize(("case", "letter"), EMPTY, ids=[f"{c}-{e}" for c, e in EMPTY])
def test_empty(case, letter, backend):
    """Each size 0: the result is empty too, or an error says that it can't be."""
    library = Library("numpy", backend)
    inputs = {}
    for name, x in case.inputs.items():
        cut = tuple(slice(0) if word == letter else slice(None) for word in case.shapes[name].split())
        inputs[name] = x[cut]
    call = getattr(ops, case.function)
    arrays = {n: library.asarray(x) for n, x in inputs.items()}
    if letter in case.indexed and backend != "cpu":
        call(**arrays, **case.arguments)
    elif letter in case.never_empty + case.indexed:
        with pytest.raises(ValueError, match=rf"^{case.function}: "):
            call(**arrays, **case.arguments)
    else:
        check(case, numpy_of(library, call(**arrays, **case.arguments)), inputs, "float64")


def adjoint(case, inputs, library):
    """What is linear and its gradient, transposed, give one number."""
    arrays = {n: library.asarray(x) for n, x in inputs.items()}
    out = getattr(ops, case.function)(**arrays, **case.arguments)
    grad = np.random.default_rng(0).standard_normal(out.shape)
    (back,) = case.backward(library.asarray(grad), **arrays, **case.arguments)
    a, b = (library.numpy(back) * inputs[case.wrt[0]]).sum(), (grad * library.numpy(out)).sum()
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * grad.size)


EDGES = [(case, edge) for case in CASES for edge in case.edges]


@pytest.mark.parametrize(("case", "edge"), EDGES, ids=[f"{c}-{e}" for c, e in EDGES])
def test_edges(case, edge, backend):
    library = Library("numpy", backend)
    inputs = {**case.inputs, **case.edges[edge]}
    out = getattr(ops, case.function)(**{n: library.asarray(x) for n, x in inputs.items()}, **case.arguments)
    check(case, numpy_of(library, out), inputs, "float64")
    if case.linear and all(np.isfinite(x).all() for x in inputs.values()):
        adjoint(case, inputs, library)


@pytest.mark.parametrize("case", [case for case in CASES if case.known], ids=str)
def test_as_established(case, backend):
    library = Library("numpy", backend)
    for inputs, expected in case.known:
        out = getattr(ops, case.function)(**{n: library.asarray(x) for n, x in inputs.items()}, **case.arguments)
        for a, b in zip(numpy_of(library, out), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


INDICES = [(case, name) for case in CASES for name in case.indices]


@pytest.mark.parametrize(("case", "name"), INDICES, ids=[f"{c}-{n}" for c, n in INDICES])
def test_indices_out_of_range(case, name, backend):
    library, call = Library("numpy", backend), getattr(ops, case.function)
    sizes = {w: n for i, text in case.shapes.items() for w, n in zip(text.split(), case.inputs[i].shape, strict=True)}
    for bad in (-1, sizes[case.indexed], 2**31 - 1, -(2**31)):
        x = case.inputs[name].copy()
        x.reshape(-1)[1] = bad
        inputs = {**case.inputs, name: x}
        arrays = {n: library.asarray(x) for n, x in inputs.items()}
        if backend == "cpu":
            for function in (call, lambda **given: case.backward(call(**case.inputs), **given)):
                with pytest.raises(
                    ValueError, match=rf"^{case.function}.*: {name} must hold numbers at least 0 and below"
                ):
                    function(**arrays, **case.arguments)
        else:
            check(case, numpy_of(library, call(**arrays, **case.arguments)), inputs, "float64")
            adjoint(case, inputs, library)


SHAPED = {  # functions that give a gradient of a shape that they are told
    part: inspect.signature(getattr(ops, part))
    for row in OPERATORS
    for part in row.parts
    if "input_shape" in inspect.signature(getattr(ops, part)).parameters
}


def recording(call, signature, calls):
    """The function, which notes itself and its arguments."""

    @functools.wraps(call)
    def recorded(*args, **kwargs):
        calls.append((call, signature.bind(*args, **kwargs).arguments))
        return call(*args, **kwargs)

    return recorded


BACKWARD = [case for case in CASES if case.backward and any(part.startswith(case.function) for part in SHAPED)]


@pytest.mark.parametrize("case", BACKWARD, ids=str)
def test_gradients_want_the_inputs_shape(case, monkeypatch):
    calls = []
    for name, signature in SHAPED.items():
        monkeypatch.setattr(ops, name, recording(getattr(ops, name), signature, calls))
    cases.run(case, np.float64)
    call, given = calls[0]
    shape = tuple(given["input_shape"])
    for wrong in (5, shape[:-1], (*shape, 1), (shape[0], shape[1] + 1, *shape[2:]), (-1, *shape[1:])):
        with pytest.raises((TypeError, ValueError), match=rf"^{call.__name__}: "):
            call(**{**given, "input_shape": wrong})


@pytest.mark.parametrize("case", [case for case in CASES if case.linear], ids=str)
def test_gradients_in_a_fixed_order(case, monkeypatch):
    """As a GPU adds where determinism is asked for; in the emulator."""
    torch = pytest.importorskip("torch")
    grad = np.random.default_rng(0).standard_normal(cases.run(case, np.float64)[0][0].shape)
    expected = case.backward(grad, **case.inputs, **case.arguments)
    use("emulated", monkeypatch)
    torch.use_deterministic_algorithms(True)
    try:
        tensors = {n: torch.from_numpy(np.array(x)) for n, x in case.inputs.items()}
        found = case.backward(torch.from_numpy(grad), **tensors, **case.arguments)
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-11, atol=1e-11 * max(1, np.abs(b).max(initial=0)))


@every
def test_the_same_bits_on_any_number_of_threads(case):
    inputs = case.inputs_in(np.float32)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            out = getattr(ops, case.function)(**inputs, **case.arguments)
            found.append([np.asarray(x).tobytes() for x in (out if isinstance(out, (tuple, list)) else (out,))])
    finally:
        set_num_threads(before)
    assert found[0] == found[1] == found[2]


@every
def test_nonsense(case):
    """One argument at a time."""
    call = getattr(ops, case.function)
    import torch

    for name, x in case.inputs.items():
        nonsense = {
            "a list": (x.tolist(), TypeError),
            "complex": (x.astype(complex), TypeError),
            "text": (x.astype(str), TypeError),
        }
        if name not in case.any_axes:
            nonsense["an axis more"] = x[None], ValueError
            nonsense["an axis less"] = x.reshape(-1) if x.ndim > 1 else x.reshape(-1, 1), ValueError
        for wrong, error in nonsense.values():
            with pytest.raises(error, match=rf"^{case.function}: .*{name}"):
                call(**{**case.inputs, name: wrong}, **case.arguments)
        if len(case.inputs) > 1:
            with pytest.raises(TypeError, match=rf"^{case.function}: .*{name}.* give both from one library"):
                call(**{**case.inputs, name: torch.from_numpy(x)}, **case.arguments)
        for axis, word in enumerate(case.shapes[name].split()):
            if word.isdigit() or sum(word in text.split() for text in case.shapes.values()) > 1:
                longer = np.concatenate([x, x.take([0], axis)], axis)
                with pytest.raises(ValueError, match=rf"^{case.function}: "):
                    call(**{**case.inputs, name: longer}, **case.arguments)


# Operators with tests of their own instead: suppressions, whose results are decisions, and those that give lists.
OWN = {"batched_nms", "contour_expand", "nms", "nms_match", "nms_quadri", "nms_rotated", "pixel_group", "soft_nms"}
OWN |= {"nms3d", "nms3d_normal", "nms_bev", "nms_normal_bev"}


def test_every_operator_is_covered():
    assert {row.name for row in OPERATORS} - {case.function for case in CASES} == OWN


def test_a_case_has_a_file_of_its_operator():
    rows = {row.name: row.file for row in OPERATORS}
    for file in cases.files():
        assert {rows[case.function] for case in cases.cases(file)} == {file}
