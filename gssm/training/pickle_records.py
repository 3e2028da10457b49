"""What a pickle describes, without running it.

A pickle is a program: `pickle.load` and `pandas.read_pickle` look up and call whatever
it names. Here nothing that it names is looked up or called. `pickletools` takes it
apart, and its opcodes only stack numbers, texts, lists and records of what it asks for;
only names that a table of numbers, texts and times needs (`KNOWN`) are let through, any
other is refused as soon as it is read.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

# (module, name) -> what it is to this module. pandas 1 and 2, numpy 1 and 2.
KNOWN: dict[tuple[str, str], str] = {
    ("pandas.core.frame", "DataFrame"): "frame",
    ("pandas.core.internals.managers", "BlockManager"): "manager",
    ("pandas._libs.internals", "_unpickle_block"): "block",
    ("pandas.core.indexes.base", "_new_Index"): "index",
    ("pandas.core.indexes.base", "Index"): "index class",
    ("pandas.core.indexes.numeric", "Int64Index"): "index class",
    ("pandas.core.indexes.numeric", "UInt64Index"): "index class",
    ("pandas.core.indexes.numeric", "Float64Index"): "index class",
    ("pandas.core.indexes.range", "RangeIndex"): "range class",
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): "times",
    ("pandas.core.arrays.datetimes", "DatetimeArray"): "times class",
    ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp"): "timestamp",
    ("pandas._libs.tslibs.timestamps", "Timestamp"): "timestamp",
    ("pandas._libs.tslibs.nattype", "__nat_unpickle"): "no time",
    ("pandas._libs.tslibs.nattype", "_nat_unpickle"): "no time",
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "array class",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy._core.numeric", "_frombuffer"): "buffer",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("datetime", "datetime"): "datetime",
    ("datetime", "date"): "date",
    ("builtins", "slice"): "slice",
}

# The published table has 183 164 rows; a time in an object column takes ten steps.
MAX_STEPS = 10_000_000


class RefusedError(Exception):
    """What is wrong with the pickle, to follow its name in a sentence."""


@dataclass(frozen=True, eq=False)
class _Name:
    """A name that the pickle uses, never looked up."""

    what: str


@dataclass(eq=False, slots=True)
class Record:
    """A call that the pickle asks for, never made; `state` is what it would set after it."""

    what: str
    args: tuple[Any, ...]
    state: Any = None


@dataclass
class _Machine:
    """Stacks (one more per open mark) and memo of the pickle's program."""

    stacks: list[list[Any]] = field(default_factory=lambda: [[]])
    memo: dict[int, Any] = field(default_factory=dict)

    def push(self, value: Any) -> None:
        self.stacks[-1].append(value)

    def pop(self) -> Any:
        return self.stacks[-1].pop()

    def pop_to_mark(self) -> list[Any]:
        if len(self.stacks) == 1:
            raise ValueError("no mark")
        return self.stacks.pop()

    def top(self, kind: type) -> Any:
        value = self.stacks[-1][-1]
        if type(value) is not kind:
            raise TypeError(kind.__name__)
        return value


def read_records(content: bytes) -> Any:
    """Return what the pickle describes: plain values and records, nothing else."""
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(BytesIO(content))):
        if opcode.name == "STOP":
            return machine.pop()
        step = _STEPS.get(opcode.name)
        if step is None:
            raise RefusedError(f"uses the pickle opcode {opcode.name}, which no table needs")
        if count > MAX_STEPS:
            raise RefusedError(f"has more than {MAX_STEPS} steps, which no table needs")
        step(machine, argument)
    raise ValueError("it has no end")


def brief(text: str) -> str:
    """Return the beginning of the first line: enough to recognise it in a message."""
    return (text.splitlines() or [""])[0][:100]


def _known(module: Any, name: Any) -> _Name:
    if type(module) is not str or type(name) is not str:
        raise TypeError("a name that is no text")
    # One whole name or none: a dotted one would reach inside of what it names.
    what = KNOWN.get((module, name))
    if what is None:
        full = brief(f"{module}.{name}")
        raise RefusedError(f"names {full!r}, which a table of numbers and texts does not need")
    return _Name(what)


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push(_known(module, name))


def _stack_global(machine: _Machine, _: None) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(_known(module, name))


def _call(machine: _Machine, _: None) -> None:
    args, name = machine.pop(), machine.pop()
    if type(name) is not _Name or type(args) is not tuple:
        raise TypeError("a call of what is no name")
    machine.push(Record(name.what, args))


def _build(machine: _Machine, _: None) -> None:
    state, record = machine.pop(), machine.top(Record)
    if record.state is not None:
        raise TypeError("a record filled twice")
    record.state = state


def _append(machine: _Machine, _: None) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: _Machine, _: None) -> None:
    values = machine.pop_to_mark()
    machine.top(list).extend(values)


def _set_item(machine: _Machine, _: None) -> None:
    value, key = machine.pop(), machine.pop()
    _put(machine.top(dict), [key, value])


def _set_items(machine: _Machine, _: None) -> None:
    items = machine.pop_to_mark()
    _put(machine.top(dict), items)


def _put(target: dict[Any, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str:  # anything deeper might not survive being hashed
            raise TypeError("a key that is no text")
        target[key] = value


def _memoize(machine: _Machine, _: None) -> None:
    machine.memo[len(machine.memo)] = machine.stacks[-1][-1]


def _memo_put(machine: _Machine, argument: int) -> None:
    machine.memo[argument] = machine.stacks[-1][-1]


def _tuple_of(size: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        values = [machine.pop() for _ in range(size)]
        machine.push(tuple(reversed(values)))

    return step


def _value(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _nothing(machine: _Machine, argument: Any) -> None:
    pass


# Opcode -> what it does to the machine. The only opcodes that a pickled table has.
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"), _value),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _value),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), _value),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": _tuple_of(0),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MARK": lambda machine, _: machine.stacks.append([]),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _memo_put),
    **dict.fromkeys(
        ("BINGET", "LONG_BINGET"), lambda machine, number: machine.push(machine.memo[number])
    ),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _call),
    "BUILD": _build,
}
