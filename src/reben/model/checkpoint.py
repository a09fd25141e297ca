"""Checkpoints of Lightning, as the original training scripts write them: weights and settings.

``torch.save`` writes a zip: a pickle that says what there is, and the values of each tensor. The
pickle is not unpickled. Its instructions are walked through one by one, and what comes out are
plain containers and inert records of everything else: nothing that it names is imported or called.
"""

import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.errors import ModelFolderError, first_line
from reben.support.bounds import MAX_PICKLE_BYTES, MAX_PICKLE_STEPS, MAX_ZIP_ENTRIES, MEBIBYTE

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".ckpt", ".pt", ".pth")
_COMPILED = "_orig_mod."
"""What torch.compile puts into the names of weights."""
_CURE = "Name a checkpoint that Lightning or torch.save wrote, in the form of torch 1.6 and later."
_DTYPES = {
    "DoubleStorage": ("F64", "float64", 8),
    "FloatStorage": ("F32", "float32", 4),
    "HalfStorage": ("F16", "float16", 2),
    "BFloat16Storage": ("BF16", "bfloat16", 2),
    "LongStorage": ("I64", "int64", 8),
    "IntStorage": ("I32", "int32", 4),
    "ShortStorage": ("I16", "int16", 2),
    "CharStorage": ("I8", "int8", 1),
    "ByteStorage": ("U8", "uint8", 1),
}
"""Kinds of storage -> dtype as safetensors and as torch call it, bytes of a value."""
_VALUES = re.compile(
    r"(BIN|SHORT_BIN)?(INT[12]?|LONG[14]?|STRING|FLOAT|BYTES8?|UNICODE8?)|BYTEARRAY8"
)
"""Steps that put a plain value."""
_CALLED = re.compile(r"(?P<backbone>\w[\w.]*)-\d+-\d+-val_")
"""File names of the original scripts: architecture, seed, channels, figure."""


@dataclass(eq=False)
class _Record:
    """What a pickle would have made by a call, and is not made."""

    kind: str
    parts: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _StoredTensor:
    """Where the values of a tensor lie; it has the interface of a slice of safetensors."""

    kind: str
    entry: str
    length: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def get_shape(self) -> tuple[int, ...]:
        return self.shape

    def get_dtype(self) -> str:
        return _DTYPES[self.kind][0] if self.kind in _DTYPES else self.kind


class CheckpointWeights:
    """The weights in a checkpoint, with the interface of those that `open_weights` yields."""

    def __init__(self, archive: zipfile.ZipFile, root: str, content: Mapping[Any, Any]) -> None:
        weights = content.get("state_dict", content)
        if not isinstance(weights, dict) or not weights:
            raise ValueError("it holds no state_dict")
        self._archive, self._root = archive, root
        self._tensors: dict[str, _StoredTensor] = {}
        for key, value in weights.items():
            if not (isinstance(key, str) and isinstance(value, _StoredTensor)):
                what = key if isinstance(key, str) else "a part"
                raise ValueError(f"{what:.60} of its state_dict is no tensor")
            self._tensors[key.replace(_COMPILED, "")] = value
        if len(self._tensors) < len(weights):
            raise ValueError(f"its state_dict has the same names with and without {_COMPILED}")
        self.stated = _settings(content.get("hyper_parameters"))
        """Settings that its hyper parameters name, such as ``timm_model_name``."""

    def keys(self) -> list[str]:
        """Return the names of the weights."""
        return list(self._tensors)

    def get_slice(self, name: str) -> _StoredTensor:
        """Return shape and type of a weight, by ``get_shape`` and ``get_dtype``."""
        return self._tensors[name]

    @property
    def channels(self) -> int | None:
        """Channels of the first convolution, if there is one."""
        shapes = (stored.shape for stored in self._tensors.values())
        return next((shape[1] for shape in shapes if len(shape) == 4), None)

    def get_tensor(self, name: str) -> "Tensor":
        """Return a weight; `ModelFolderError` if its values are not where and what it says."""
        import torch

        stored = self._tensors[name]
        _, dtype, size = _DTYPES[stored.kind]
        with _readable(Path(str(self._archive.filename))):
            entry = self._archive.getinfo(f"{self._root}/data/{stored.entry}")
            last = sum((n - 1) * step for n, step in zip(stored.shape, stored.stride, strict=True))
            fits = (
                entry.file_size == stored.length * size
                and min((stored.offset, *stored.shape, *stored.stride)) >= 0
                and (not prod(stored.shape) or stored.offset + last < stored.length)
            )
            if not fits:
                raise ValueError(f"the values of {name} are not where it says")
            content = bytearray(_content(self._archive, entry) or bytes(size))
            values = torch.frombuffer(content, dtype=getattr(torch, dtype))
            return values.as_strided(stored.shape, stored.stride, stored.offset).clone()


@contextmanager
def open_checkpoint(path: Path) -> Iterator[CheckpointWeights]:
    """Yield the weights in a checkpoint; their values are read when they are asked for.

    Raises:
        ModelFolderError: If the file is no checkpoint, or beyond what one holds.
    """
    with _readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        with _readable(path):
            weights = _read(archive)
        yield weights


_FAULTS = (
    OSError, ValueError, LookupError, TypeError, NotImplementedError, RuntimeError, MemoryError,
    OverflowError, zipfile.BadZipFile, zipfile.LargeZipFile,
)  # fmt: skip
"""What reading a zip or a pickle that was damaged or made up raises."""


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        said = first_line(error) or type(error).__name__
        raise ModelFolderError(f"{path} cannot be read as a checkpoint: {said}. {_CURE}") from None


def _read(archive: zipfile.ZipFile) -> CheckpointWeights:
    names = archive.namelist()
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1 or len(names) > MAX_ZIP_ENTRIES:
        raise ValueError("it is a zip of something else")
    order = f"{roots[0]}/byteorder"
    if order in names and _content(archive, archive.getinfo(order)) == b"big":
        raise ValueError("its bytes are in the order of another machine")
    entry = archive.getinfo(f"{roots[0]}/data.pkl")
    if entry.file_size > MAX_PICKLE_BYTES:
        raise ValueError(f"its description has more than {MAX_PICKLE_BYTES // MEBIBYTE} MiB")
    content = _walk(_content(archive, entry))
    if not isinstance(content, dict):
        raise ValueError("it holds no mapping")
    return CheckpointWeights(archive, roots[0], content)


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a file in a checkpoint, which stores them as they are."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError("it is compressed, which torch.save does not do")
    return archive.read(entry)


def _walk(pickled: bytes) -> Any:  # noqa: ANN401, C901 - whatever a pickle describes; one case each
    """Return what a pickle describes, in plain containers and records."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for number, (code, arg, _) in enumerate(pickletools.genops(pickled)):
        name = code.name
        if number > MAX_PICKLE_STEPS:
            raise ValueError(f"its description has more than {MAX_PICKLE_STEPS} steps")
        if name == "STOP":
            return stack.pop()
        if _VALUES.fullmatch(name):
            stack.append(arg)
        elif name in _MAKERS:
            stack.append(_MAKERS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else int(str(arg))] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(arg))])
        elif name == "GLOBAL":
            stack.append(_Record(str(arg).replace(" ", ".")))
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"its description has a step {name}, which torch.save does not write")
    raise ValueError("its description has no end")


def _last(stack: list[Any], number: int) -> list[Any]:
    return [stack.pop() for _ in range(number)][::-1]


def _since_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _extend(stack: list[Any], items: list[Any]) -> None:
    if isinstance(stack[-1], list):
        stack[-1].extend(items)


def _set_items(stack: list[Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        _put(stack[-1], key, value)


def _put(into: Any, key: Any, value: Any) -> None:  # noqa: ANN401 - whatever stands there
    """Set an item of a mapping, or of an object that is one.

    Other keys than plain ones are told apart and not looked into: tuples that hold each other many
    times over take forever to be hashed.
    """
    if isinstance(into, _Record):
        into = into.state
    if isinstance(into, dict):
        into[key if isinstance(key, str | int | float | None) else _Record("key")] = value


def _join(stack: list[Any]) -> None:
    name, module = stack.pop(), stack.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise ValueError("an object in it has no name")
    stack.append(_Record(f"{module}.{name}"))


def _call(stack: list[Any]) -> None:
    """Put what a call would return: a mapping, a tensor yet to be read, or a record."""
    parts, called = stack.pop(), stack.pop()
    kind = called.kind if isinstance(called, _Record) else "?"
    if kind == "collections.OrderedDict":
        stack.append({})
    elif kind == "torch._utils._rebuild_parameter":
        stack.append(parts[0])
    elif kind == "torch._utils._rebuild_tensor_v2":
        stack.append(_stored(*parts[:4]))
    else:
        stack.append(_Record(kind, parts))


def _stored(storage: Any, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Any:  # noqa: ANN401
    parts: Any = storage.parts if isinstance(storage, _Record) else [None] * 5
    _, kind, entry, _, length = parts
    are_numbers = all(type(number) is int for number in (offset, length, *shape, *stride))
    if not (are_numbers and isinstance(entry, str) and isinstance(kind, _Record)):
        raise ValueError("a tensor has no place")
    return _StoredTensor(
        kind.kind.rpartition(".")[2], entry, length, offset, tuple(shape), tuple(stride)
    )


def _build(stack: list[Any]) -> None:
    state = stack.pop()
    if isinstance(stack[-1], _Record) and isinstance(state, dict):
        stack[-1].state.update(state)


_MARK = _Record("mark")
_MAKERS: Mapping[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_STEPS: Mapping[str, Callable[[list[Any]], None]] = {
    "APPEND": lambda stack: _extend(stack, _last(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _since_mark(stack)),
    "ADDITEMS": lambda stack: _extend(stack, _since_mark(stack)),
    "SETITEM": lambda stack: _set_items(stack, _last(stack, 2)),
    "SETITEMS": lambda stack: _set_items(stack, _since_mark(stack)),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": lambda stack: stack.append(tuple(_last(stack, 1))),
    "TUPLE2": lambda stack: stack.append(tuple(_last(stack, 2))),
    "TUPLE3": lambda stack: stack.append(tuple(_last(stack, 3))),
    "LIST": lambda stack: stack.append(_since_mark(stack)),
    "FROZENSET": lambda stack: stack.append(_since_mark(stack)),
    "STACK_GLOBAL": _join,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
    "BINPERSID": lambda stack: stack.append(_Record("storage", stack.pop())),
    "POP": lambda stack: stack.__delitem__(-1),
}


def _settings(found: Any) -> dict[str, Any]:  # noqa: ANN401 - hyper parameters, of any form
    """Return the plain values in hyper parameters, those of objects in them included."""
    values = found.state if isinstance(found, _Record) else found
    if not isinstance(values, dict):
        return {}
    inner = [value.state for value in values.values() if isinstance(value, _Record)]
    inner += [value for value in values.values() if isinstance(value, dict)]
    every = {key: value for one in (*inner, values) for key, value in one.items()}
    return {key: value for key, value in every.items() if isinstance(value, str | int | float)}


def backbone_of_name(path: Path) -> str | None:
    """Return the architecture that the name of a checkpoint of the original scripts begins with.

    Example:
        >>> backbone_of_name(Path("resnet101-42-10-val_mAP_macro-0.71.ckpt"))
        'resnet101'
    """
    match = _CALLED.match(path.name)
    return None if match is None else match["backbone"]
