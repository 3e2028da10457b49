"""What the compiled loops over trees need of numba: 64 rows at once.

numba's own loops over 64 rows do not become one comparison into a mask of bits; LLVM's
vectors do, by AVX-512, AVX2, SSE or NEON, whatever the processor has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

# Rows in a word: bits of the integer that says which of them are meant.
LANES = 64

_INT32 = ir.IntType(32)


def digest() -> str:
    """Digest of what is compiled into loops of other modules.

    numba keeps a compiled loop as long as the text of its own module stays the same, so a
    module that compiles these in quotes the digest, and a test compares.
    """
    folder = Path(__file__).parent
    texts = [(folder / name).read_bytes() for name in ("lanes.py", "trees.py")]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:8]


def _instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let compiled loops call a function that writes LLVM's code (typed for mypy, that is all)."""
    instruction: Callable[..., Any] = intrinsic(function)
    return instruction


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _spread(builder: Any, value: Any) -> Any:
    """Return the value in every lane of a vector."""
    vector = ir.VectorType(value.type, LANES)
    nothing = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, value, _INT32(0))
    return builder.shuffle_vector(one, nothing, ir.VectorType(_INT32, LANES)([0] * LANES))


@_instruction
def above(typing_context: Any, keys: Any, start: Any, key: Any) -> Any:
    """uint64 with a bit per row: ``keys[start + row] > key``, for int32 keys."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        vector = ir.VectorType(_INT32, LANES)
        values = builder.load(builder.bitcast(pointer, vector.as_pointer()))
        values.align = 4  # of one element
        bits = builder.icmp_signed(">", values, _spread(builder, arguments[2]))
        return builder.bitcast(bits, ir.IntType(LANES))

    return types.uint64(keys, types.int64, types.int32), generate


@_instruction
def add_where(typing_context: Any, total: Any, start: Any, mask: Any, bits: Any) -> Any:
    """``total[start + row] += value`` where the mask has a bit; the value is float32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        element = context.get_value_type(signature.args[0].dtype)
        vector = ir.VectorType(element, LANES)
        pointer = builder.bitcast(pointer, vector.as_pointer())
        before = builder.load(pointer)
        before.align = signature.args[0].dtype.bitwidth // 8
        value = builder.bitcast(arguments[3], ir.FloatType())
        if signature.args[0].dtype == types.float64:
            value = builder.fpext(value, element)
        where = builder.bitcast(arguments[2], ir.VectorType(ir.IntType(1), LANES))
        after = builder.select(where, builder.fadd(before, _spread(builder, value)), before)
        builder.store(after, pointer).align = before.align
        return context.get_dummy_value()

    return types.void(total, types.int64, types.uint64, types.int32), generate


@_instruction
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Place of the lowest bit that is set; undefined of none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@_instruction
def peek(typing_context: Any, array: Any, index: Any) -> Any:
    """``array[index]`` of an index that is never negative, which numba would ask each time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *arguments))

    return array.dtype(array, types.int64), generate


@_instruction
def poke(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index] = value`` likewise."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer)
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), generate
