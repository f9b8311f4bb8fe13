"""How a result that is not plain JSON becomes so: the second half of the value table.

Rust encodes dict, list, tuple, str, int, float, bool, None and bytes by itself, and asks `simplify` about everything
else, one object at a time; what comes back is encoded by the same rules. Like runner.py this runs in the jail beside
the script. It decides by exact type, taken from the modules that are loaded, so a script's own subclass is refused
rather than asked what it is: as far as possible no code of the script runs while its result is read.
"""

import sys
import types

_mro_of = type.__dict__["__mro__"].__get__
_names_of = type.__dict__["__dict__"].__get__
_qualified_name_of = type.__dict__["__qualname__"].__get__
_module_of = type.__dict__["__module__"].__get__
_attribute = object.__getattribute__


class Refused(Exception):
    """The value can't be written as JSON; its first argument says what it is and what to do about it."""


class TooLarge(Exception):
    """The value has more parts than the result may have bytes."""


def simplify(value, room):
    """Return what stands for `value`: plain data, whose parts may need the same again.

    `room` is the number of bytes left for the result; an array with more elements than that is not unpacked.
    """
    kind = type(value)
    convert = _table.get(id(kind)) or _learned(kind)
    if convert is not None:
        return convert(value, room)
    if _is_enum(kind):
        return _attribute(value, "_value_")
    fields = _inherited(kind, "_fields")
    if type(fields) is tuple and issubclass(kind, tuple):
        items = [*tuple.__iter__(value)]
        if len(fields) == len(items) and all(type(name) is str for name in fields):
            return dict(zip(fields, items, strict=True))
    if type(_inherited(kind, "n_sequence_fields")) is int and issubclass(kind, tuple):
        return [*tuple.__iter__(value)]  # time.struct_time and its like
    fields = _inherited(kind, "__dataclass_fields__")
    if type(fields) is dict:
        return _dataclass(value, fields)
    raise Refused(_problem(value, kind))


def _inherited(kind, name):
    for base in _mro_of(kind):
        names = _names_of(base)
        if name in names:
            return names[name]
    return None


def _is_enum(kind):
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(type(kind), enum.EnumMeta)


def _dataclass(value, fields):
    from dataclasses import _FIELD

    answer = {}
    for name, field in fields.items():
        if field._field_type is _FIELD:
            try:
                answer[name] = _attribute(value, name)
            except AttributeError:
                raise Refused(f"a {_name(type(value))} whose field {name!r} is not set") from None
    return answer


# --- the table, by exact type ---------------------------------------------------------------------------------
# Keyed by id: a class with a metaclass of the script's own would answer to hash() and == itself. The types in
# the table live as long as the process, so their ids are theirs.

_table = {}


def _add(kinds, convert):
    for kind in kinds:
        _table[id(kind)] = convert


def _learned(kind):
    """Add the types of modules that were loaded since the last time, then look again."""
    found = False
    for name in [name for name in _teachers if name in sys.modules]:
        try:
            _teachers[name](sys.modules[name])
        except Exception:  # noqa: BLE001 - another thread is importing it right now, or the script put it there
            continue
        del _teachers[name]
        found = True
    return _table.get(id(kind)) if found else None


def _learn_collections(collections):
    _add([collections.OrderedDict, collections.defaultdict, collections.Counter], lambda value, _: dict(value))


def _learn_datetime(datetime):
    _add([datetime.datetime, datetime.date, datetime.time], lambda value, _: value.isoformat())
    _add([datetime.timedelta], lambda value, _: value.total_seconds())


def _learn_pathlib(pathlib):
    names = ["PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath"]
    _add([getattr(pathlib, name) for name in names], _text)


def _text(value, _):
    return str(value)


def _elements(value, room):
    if len(value) * 2 > room:
        raise TooLarge
    return [*value]


_add([set, frozenset], _elements)
_add([bytearray, memoryview], lambda value, room: _bytes(value, room))


def _bytes(value, room):
    if memoryview(value).nbytes > room:
        raise TooLarge
    return bytes(value)


_teachers = {
    "collections": _learn_collections,
    "datetime": _learn_datetime,
    "decimal": lambda decimal: _add([decimal.Decimal], _text),
    "uuid": lambda uuid: _add([uuid.UUID], _text),
    "pathlib": _learn_pathlib,
}


# --- numpy ----------------------------------------------------------------------------------------------------


def _learn_numpy(numpy):
    scalars = {*numpy.sctypeDict.values()}
    longs = {numpy.longdouble, numpy.clongdouble}
    _add([numpy.matrix, numpy.recarray, numpy.ma.MaskedArray, numpy.ndarray], _array)
    for kind in scalars:
        if issubclass(kind, numpy.complexfloating):
            _add([kind], _complex)
        elif issubclass(kind, (numpy.datetime64, numpy.timedelta64, numpy.void)):
            _add([kind], lambda value, room: _array(numpy.asarray(value), room))
        elif kind not in longs:
            _add([kind], lambda value, _: value.item())
    _add([numpy.longdouble], lambda value, _: float(value))


def _complex(value, _):
    raise Refused("a complex number; return [z.real, z.imag]")


def _array(array, room):
    # An array of no elements may still be a long list of empty ones.
    parts = 1
    for length in array.shape:
        if length == 0:
            break
        parts *= length
    if parts * 2 > room:
        raise TooLarge
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize > 8:
        return array.astype("f8").tolist()
    if kind == "c":
        raise Refused("an array of complex numbers; return its .real and .imag")
    if kind == "M":
        texts = sys.modules["numpy"].datetime_as_string(array)
        return _each(texts, _iso)
    if kind == "m":
        return _seconds(array)
    if kind == "V" and array.dtype.names is None:
        return _each(array, lambda item: item.tobytes())
    if kind == "V":
        names = array.dtype.names
        columns = [_array(array[name].reshape(array.size, *array.dtype[name].shape), room) for name in names]
        records = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return _reshaped(records, array.shape)
    return array.tolist()


def _each(array, convert):
    return _reshaped([convert(item) for item in array.reshape(-1)], array.shape)


def _reshaped(items, shape):
    """Nest a flat list as an array of that shape nests its elements."""
    if not shape:
        return items[0]
    for length in reversed(shape[1:]):
        items = [items[i : i + length] for i in range(0, len(items), length or 1)]
    return items


def _iso(text):
    """One datetime64 as `datetime.isoformat` writes it, to the nanosecond where there is one."""
    text = str(text)
    if text == "NaT":
        return None
    date, mark, time = text.partition("T")
    if not mark:
        return date
    clock, _, fraction = time.partition(".")
    clock += ":00" * (2 - clock.count(":"))
    fraction = fraction.rstrip("0")
    if fraction:
        clock += "." + fraction.ljust(6, "0").ljust(9 if len(fraction) > 6 else 6, "0")
    return f"{date}T{clock}"


def _seconds(array):
    numpy = sys.modules["numpy"]
    try:
        return (array / numpy.timedelta64(1, "s")).tolist()
    except TypeError:
        raise Refused("a timedelta64 in months or years, which are no fixed number of seconds") from None


# --- pandas ---------------------------------------------------------------------------------------------------


def _learn_pandas(pandas):
    _add([pandas.DataFrame], _frame)
    indexes = [
        "Index", "RangeIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "CategoricalIndex", "IntervalIndex",
        "MultiIndex",
    ]  # fmt: skip
    _add([pandas.Series, *(getattr(pandas, name) for name in indexes)], _column)
    arrays = [getattr(pandas.arrays, name) for name in dir(pandas.arrays) if name.endswith("Array")]
    _add([pandas.Categorical, *arrays], _extension)
    _add([pandas.Timestamp], lambda value, _: value.isoformat())
    _add([pandas.Timedelta], lambda value, _: value.total_seconds())
    _add([pandas.Period, pandas.Interval], _text)
    _add([type(pandas.NaT), type(pandas.NA)], lambda _value, _room: None)


def _frame(frame, room):
    rows, width = frame.shape
    if rows * max(width, 1) * 2 > room:
        raise TooLarge
    labels = [_label(label) for label in frame.columns]
    if len({*labels}) < width:
        raise Refused("a DataFrame with two columns of one name; rename one")
    columns = [_column(frame.iloc[:, position], room) for position in range(width)]
    if not columns:
        return [{} for _ in range(rows)]
    return [dict(zip(labels, row, strict=True)) for row in zip(*columns, strict=True)]


def _label(label):
    """A column's name as the key of a record."""
    if type(label) is tuple:
        raise Refused(
            f"a DataFrame with columns in levels, as {label!r}; "
            "flatten them: df.columns = ['_'.join(map(str, c)) for c in df.columns]"
        )
    if label is None or type(label) in (str, int, float, bool):
        return label
    plain = simplify(label, sys.maxsize)
    if plain is None or type(plain) in (str, int, float, bool):
        return plain
    raise Refused(f"a DataFrame with a column whose name is a {_name(type(label))}")


def _column(column, room):
    """The values of a Series or an Index."""
    if len(column) * 2 > room:
        raise TooLarge
    if isinstance(column.dtype, sys.modules["numpy"].dtype):
        return _array(column.to_numpy(), room)
    return _extension(column.array, room)


def _extension(array, room):
    if len(array) * 2 > room:
        raise TooLarge
    return list(array)


_teachers["numpy"] = _learn_numpy
_teachers["pandas"] = _learn_pandas


# --- what to say of the rest ----------------------------------------------------------------------------------


def _name(kind):
    name, module = _qualified_name_of(kind), _module_of(kind)
    if type(module) is str and module not in ("main", "__main__", "builtins"):
        name = f"{module}.{name}"
    return name[:120]


_REWRITES = {
    "generator": "a generator; return list(...)",
    "async_generator": "an async generator; collect its items in a list and return that",
    "coroutine": "a coroutine that was not awaited; await it",
    "complex": "a complex number; return [z.real, z.imag]",
    "fractions.Fraction": "a Fraction; return float(x) or str(x)",
    "re.Match": "a regular expression match; return m.group() or m.groupdict()",
    "mappingproxy": "a mappingproxy; return dict(x)",
    "types.SimpleNamespace": "a SimpleNamespace; return vars(x)",
    "type": "a class; return data",
    "module": "a module; return data",
    "ellipsis": "an ellipsis (...); return None",
    "collections.UserDict": "a UserDict; return dict(x)",
}
_ITERABLES = {
    "map", "filter", "zip", "enumerate", "reversed", "range", "dict_keys", "dict_values", "dict_items",
    "list_iterator", "collections.deque", "array.array", "collections.UserList",
}  # fmt: skip
_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType,
    types.WrapperDescriptorType,
)  # fmt: skip
_BASES = (dict, list, tuple, set, frozenset, str, int, float, bytes)


def _problem(value, kind):
    """One line for a person: what `value` is, and what to return instead."""
    name = _name(kind)
    if name in _REWRITES:
        return _REWRITES[name]
    if name in _ITERABLES or name.startswith("itertools."):
        return f"{_with_article(name.rpartition('.')[2])}; return list(...)"
    if issubclass(kind, _FUNCTIONS):
        return "a function; call it and return what it gives"
    if issubclass(kind, BaseException):
        return f"an exception ({name}); return str(x), or raise it"
    for base in _BASES:
        if issubclass(kind, base):
            return f"an instance of {name}, a subclass of {base.__name__}; return {base.__name__}(x)"
    if name.startswith("pandas.") and "GroupBy" in name:
        return f"a {name.rpartition('.')[2]}; aggregate it first, as .sum() or .mean()"
    for base in _mro_of(kind):
        if id(base) in _table:
            known = _name(base)
            return f"an instance of {name}, a subclass of {known}; return a plain {known.rpartition('.')[2]}"
    return f"an instance of {name}; return a dict, a list, text or a number made from it"


def _with_article(noun):
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
