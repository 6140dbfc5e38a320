"""Compiles `min`, `max`, `np.empty` and `np.zeros` where a kernel calls them.

For each type of their arguments Numba compiles a function, which does nothing but call what makes the code, and a kernel of a
page waits for ten of them. Here the code is made in the kernel. Arrays begin at multiples of 64 bytes, a line of the cache;
Numba's begin at multiples of 32, and where every vector of 64 bytes lies across two lines, products of matrices take up to a
quarter longer.
"""

import builtins
import operator

import numpy as np
from numba.core import cgutils, ir, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import InlineInlinables
from numba.cpython.builtins import do_minmax
from numba.extending import intrinsic
from numba.np import arrayobj

ALIGNMENT = 64


def _better(compare):
    @intrinsic
    def better(typingctx, a, b):
        """As min(a, b) or max(a, b)."""

        def codegen(context, builder, signature, args):
            return do_minmax(context, builder, signature.args, args, compare)

        return typingctx.unify_types(types.unliteral(a), types.unliteral(b))(a, b), codegen

    return better


def _allocating(fill):
    @intrinsic
    def allocate(typingctx, shape, dtype):
        def codegen(context, builder, signature, args):
            shapes = arrayobj._parse_shape(context, builder, signature.args[0], args[0])
            context = context.subtarget(get_preferred_array_alignment=lambda dtype: ALIGNMENT)
            array = arrayobj._empty_nd_impl(context, builder, signature.return_type, shapes)
            if fill:
                cgutils.memset(builder, array.data, builder.mul(array.itemsize, array.nitems), 0)
            return array._getvalue()

        return types.Array(arrayobj.ty_parse_dtype(dtype), arrayobj.ty_parse_shape(shape), "C")(shape, dtype), codegen

    return allocate


_DIRECT = {
    builtins.min: _better(operator.lt),
    builtins.max: _better(operator.gt),
    np.empty: _allocating(False),
    np.zeros: _allocating(True),
}


@register_pass(mutates_CFG=False, analysis_only=False)
class _Direct(FunctionPass):
    _name = "arrayvision_direct"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        """Where these functions are called with two arguments, call the intrinsics."""
        statements = [s for block in state.func_ir.blocks.values() for s in block.body if isinstance(s, ir.Assign)]
        meant = {}  # variables -> the objects of Python that they stand for
        for s in statements:
            if isinstance(s.value, (ir.Global, ir.FreeVar)):
                meant[s.target.name] = s.value.value
        for s in statements:
            if getattr(s.value, "op", "") == "getattr" and meant.get(s.value.value.name) is np:
                meant[s.target.name] = getattr(np, s.value.attr)
        called = {
            s.value.func.name
            for s in statements
            if getattr(s.value, "op", "") == "call"
            and len(s.value.args) == 2
            and not s.value.kws
            and not s.value.vararg
        }
        for s in statements:
            function = meant.get(s.target.name)
            if s.target.name in called and callable(function) and function in _DIRECT:
                s.value = ir.Global(function.__name__, _DIRECT[function], s.loc)
                state.func_ir._definitions[s.target.name] = [s.value]
        return True


class Compiler(CompilerBase):
    """Numba's, with that pass."""

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_Direct, InlineInlinables)
        passes.finalize()
        return [passes]
