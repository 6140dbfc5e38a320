"""Which of its arguments a kernel writes to, told from its source, so that it is compiled once for all that it only reads.

To Numba an array that may be written to and one that may not are two types. Inputs are of the second kind, what a launcher
computed of the first, and a view is of its array's: a kernel that reads them would be compiled for each mixture. It is compiled
for the second kind alone (`reading`), which serves both. What is told wrongly is seen: to write to an array of the second
kind is an error of the compiler.
"""

import ast
import inspect
import textwrap
import types as python

from numba.core import types
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

OUTPUTS = {"out", "turn"}  # what an intrinsic writes to, by its arguments' names
_FIXED = {"dtype", "itemsize", "ndim", "shape", "size", "strides"}  # attributes that are no views
_VIEWS = {
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "transpose",
    "view",
}  # methods, and functions of NumPy, that give views
_PARTS = {"enumerate", "reversed", "tuple", "zip"}  # what gives parts of its arguments
_known: dict = {}  # functions -> `arguments` of them


def arguments(function) -> tuple[frozenset, frozenset]:
    """The positions of a function's arguments that it writes to, and of those that it may return a view of."""
    if function not in _known:
        _known[function] = frozenset(), frozenset()  # while it is looked through: if it calls itself
        try:
            body = _Body(function)
        except (OSError, SyntaxError):  # there is no source: as if it wrote to all
            every = frozenset(range(function.__code__.co_argcount))
            _known[function] = every, every
        else:
            _known[function] = frozenset(body.written), frozenset(body.returned)
    return _known[function]


class _Body:
    """Follows arguments through a function, whatever the order of its statements: `views` has what a name may be a view of."""

    def __init__(self, function):
        self.outer = inspect.getclosurevars(function)
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        self.views = {argument.arg: {k} for k, argument in enumerate(tree.args.args)}
        self.written, self.returned = set(), set()
        nodes, seen = list(ast.walk(tree)), -1
        while seen != (seen := self.size()):  # until nothing new is found
            for node in nodes:
                self.look(node)

    def size(self):
        return sum(map(len, (self.written, self.returned, *self.views.values())))

    def look(self, node):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self.bind(target, node.value)
        elif isinstance(node, ast.AugAssign):
            if isinstance(node.target, ast.Subscript):
                self.written |= self.of(node.target)
        elif isinstance(node, ast.NamedExpr):
            self.bind(node.target, node.value)
        elif isinstance(node, ast.For):
            self.bind(node.target, node.iter)
        elif isinstance(node, ast.Return) and node.value is not None:
            self.returned |= self.of(node.value)
        elif isinstance(node, ast.Call):
            self.call(node)

    def bind(self, target, value):
        """Remember what a target of an assignment becomes a view of; an element of an array is written to."""
        if isinstance(target, (ast.Tuple, ast.List)):
            each = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            for k, part in enumerate(target.elts):
                self.bind(part, value.elts[k] if each else value)
        elif isinstance(target, ast.Subscript):
            self.written |= self.of(target)
        elif isinstance(target, ast.Name):
            self.views.setdefault(target.id, set()).update(self.of(value))

    def of(self, node) -> set:
        """The arguments that an expression may be a view of."""
        if isinstance(node, ast.Name):
            return self.views.get(node.id, set())
        if isinstance(node, (ast.Subscript, ast.NamedExpr, ast.Starred)):
            return self.of(node.value)
        if isinstance(node, ast.Attribute):
            return set() if node.attr in _FIXED else self.of(node.value)
        if isinstance(node, ast.Tuple):
            return set().union(*map(self.of, node.elts))
        if isinstance(node, ast.IfExp):
            return self.of(node.body) | self.of(node.orelse)
        return self.call(node) if isinstance(node, ast.Call) else set()

    def call(self, node) -> set:
        """Note what a call writes to, and tell what it may return a view of."""
        given = dict(enumerate(node.args)) | {word.arg: word.value for word in node.keywords}
        every = set().union(*map(self.of, given.values()))
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)  # what then comes where isn't known
        called = self.value(node.func)
        if called is None and isinstance(node.func, ast.Attribute):  # a method
            own = self.of(node.func.value)
            if node.func.attr in ("fill", "sort"):
                self.written |= own
            return own if node.func.attr in _VIEWS else set()
        name = getattr(called, "__name__", "")
        functions = _behind(called)
        if not functions:
            return every if name in _VIEWS | _PARTS else set()
        views: set[int] = set()
        for function, intrinsic in functions:
            names = function.__code__.co_varnames[intrinsic : function.__code__.co_argcount]
            outputs = frozenset(k for k, word in enumerate(names) if word in OUTPUTS)
            written, returned = (outputs, frozenset()) if intrinsic else arguments(function)
            for at, value in given.items():
                k = at if isinstance(at, int) else names.index(at)
                if k in written or starred:
                    self.written |= self.of(value)
                if k in returned or starred:
                    views |= self.of(value)
        return views

    def value(self, node):
        """The object that a name, or a name in a module, stands for; None where it isn't known before the call."""
        if isinstance(node, ast.Name) and node.id not in self.views:
            found = (names[node.id] for names in self.outer[:3] if node.id in names)
            return next(found, None)
        if isinstance(node, ast.Attribute):
            module = self.value(node.value)
            return getattr(module, node.attr, None) if isinstance(module, python.ModuleType) else None
        return None


def _behind(called):
    """The functions of ours that a call may run, each with whether it is an intrinsic."""
    if isinstance(called, Dispatcher):
        return [(called.py_func, False)]
    if isinstance(called, _Intrinsic):
        return [(called._defn, True)]
    return [(function, False) for function in getattr(called, "kinds", ())]


def reading(kind, inside=True):
    """The type of an array that isn't written to, for a type; likewise of arrays in a tuple, if `inside`."""
    if isinstance(kind, types.Array):
        return kind.copy(readonly=True) if kind.mutable else kind
    if inside and isinstance(kind, types.BaseTuple) and any(reading(part) != part for part in kind):
        return types.BaseTuple.from_types([reading(part) for part in kind], getattr(kind, "instance_class", None))
    return kind


def settled(function, kinds, inside=True):
    """The types to compile a function for, given those of its arguments."""
    written, returned = arguments(function)
    return tuple(kind if k in written or k in returned else reading(kind, inside) for k, kind in enumerate(kinds))


def serves(compiled, kinds, inside=True):
    """Whether code compiled for some types does for others."""
    return all(a in (b, reading(b, inside)) for a, b in zip(compiled, kinds, strict=True))
