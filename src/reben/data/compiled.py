"""What compiled loops are built of: compiling, addresses, and moving memory past the caches.

Importing this file imports numba. Only `reben.data.fused` does that.

An address is the place of a value in memory, as an integer. Whoever calls keeps the memory behind
it alive: a wrong address ends the process.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Typed = tuple[object, Callable[[Any, Any, Any, Any], object]]


def compiled(function: _Function) -> _Function:
    """Return a function that is compiled when it is called, and runs without Python's lock."""
    # Division by numpy's rules: Python's check for zero at each pixel would forbid wide registers,
    # and deviations are above zero anyway. No fastmath: it would change numbers.
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast("_Function", numba.njit(cache=True, **options)(function))
    except RuntimeError:
        # Neither the package nor the user has a folder that compiled code can be kept in.
        return cast("_Function", numba.njit(**options)(function))


def _pointer(_typing: object, address: object) -> _Typed:
    def generate(_context: object, builder: Any, _signature: object, values: Any) -> object:  # noqa: ANN401
        return builder.inttoptr(values[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


def _stream(num_bytes: int) -> Callable[..., _Typed]:
    def stream(_typing: object, target: object, source: object) -> _Typed:
        def generate(context: Any, builder: Any, _signature: object, values: Any) -> object:  # noqa: ANN401
            vector = ir.VectorType(ir.IntType(8), num_bytes)
            places = [builder.inttoptr(value, ir.PointerType(vector)) for value in values]
            store = builder.store(builder.load(places[1], align=1), places[0], align=num_bytes)
            store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
            return context.get_dummy_value()

        return types.void(target, source), generate

    return stream


def _fence(_typing: object) -> _Typed:
    def generate(context: Any, builder: Any, _signature: object, _values: object) -> object:  # noqa: ANN401
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


pointer = intrinsic(_pointer)
"""Return an address as a pointer, for ``numba.carray``."""
stream_16 = intrinsic(_stream(16))
"""Copy 16 bytes to an address (first) that is a multiple of 16, from another, past the caches."""
stream_32 = intrinsic(_stream(32))
"""Copy 32 bytes to an address (first) that is a multiple of 32, from another, past the caches."""
fence = intrinsic(_fence)
"""Let other threads see what was streamed before."""
