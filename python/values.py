"""How a result that is not plain JSON becomes so: the second half of the value table.

Rust encodes dict, list, tuple, str, int, float, bool, None and bytes by itself, and asks `simplify` about everything
else, one object at a time; what comes back is encoded by the same rules. Like runner.py this runs in the jail beside
the script. It decides by exact type, taken from the modules that are loaded, and by what C code tells of a class: no
code of the script runs while its result is read. What can't be read without is named by `NeedsScript`, and settle.py
reads it first. tables.py, in the same namespace, knows numpy and pandas. A library that is written in Python is what the
script made of it: one that patches `Fraction.__str__` has its own words in its own answer, and nothing else.
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
    """The value has more parts than the result may have bytes. Its argument says how many bytes it takes at least, where that is known."""


class NeedsScript(Exception):
    """Reading the value takes code of the script."""


# What the last call of `simplify` changed in a way that nobody expects; the encoder takes it out and tells the client.
lost = []

# Whether settle.py is at work: then it is the script's own time.
_is_script_time = False


def _take_script_time():
    """Called before code of the script's runs."""
    if not _is_script_time:
        raise NeedsScript


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
    names = _field_names(kind)
    if names is not None:
        return {name: _field(value, kind, name) for name in names}
    for base in _BASES:
        if issubclass(kind, base):
            return _BASES[base](value, room)
    if _is_read_by_script(kind):
        raise NeedsScript
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


# --- classes that list their fields ---------------------------------------------------------------------------


def _field_names(kind):
    """The names of the fields of a dataclass, an attrs class or a msgspec struct; None of any other."""
    fields = _inherited(kind, "__dataclass_fields__")
    if type(fields) is dict and (known := sys.modules.get("dataclasses")):
        fields = [(name, field) for name, field in fields.items() if type(field) is known.Field]
        return _texts(name for name, field in fields if field._field_type is known._FIELD)
    fields = _inherited(kind, "__attrs_attrs__")
    if fields is not None and issubclass(type(fields), tuple) and (known := sys.modules.get("attr")):
        return _texts(field.name for field in tuple.__iter__(fields) if type(field) is known.Attribute)
    fields = _inherited(type(kind), "__struct_fields__")
    if type(fields) is types.MemberDescriptorType:
        fields = fields.__get__(kind)
        return _texts(fields) if type(fields) is tuple else None
    return None


def _texts(names):
    # A name of a class of the script's own would have its code run when it is looked up.
    return [name for name in names if type(name) is str]


def _field(value, kind, name):
    """What a field holds, by its slot or in the object's dict. Where a descriptor of the script's own stands before it, its code tells."""
    found = _inherited(kind, name)
    if type(found) is types.MemberDescriptorType:
        try:
            return found.__get__(value)
        except AttributeError:
            raise Refused(_unset(kind, name)) from None
    holder = _inherited(kind, "__dict__")
    if _has(found, "__set__") or type(holder) is not types.GetSetDescriptorType and holder is not None:
        raise NeedsScript
    if holder is not None:
        contents = holder.__get__(value)
        if dict.__contains__(contents, name):
            return dict.__getitem__(contents, name)
    if found is None:
        raise Refused(_unset(kind, name))
    if _has(found, "__get__"):
        raise NeedsScript
    return found


def _has(descriptor, method):
    return descriptor is not None and _inherited(type(descriptor), method) is not None


def _unset(kind, name):
    return f"a {_name(kind)} whose field {name!r} is not set"


# --- subclasses of built-in types: what they hold as such, whatever their own methods say ---------------------------


def _of_dict(value, room):
    collections = sys.modules.get("collections")
    if collections is not None and issubclass(type(value), collections.OrderedDict):
        return _ordered(value, room)
    _check_keys(value)
    return _pairs(dict.items(value), room)


def _ordered(value, room):
    # Its own order is kept in nodes, which are found by hashing the keys.
    _check_keys(value)
    return _pairs(_ordered_items(value), room)


def _pairs(items, room):
    if len(items) * 5 > room:
        raise TooLarge(len(items) * 5)
    return dict(items)


def _check_keys(value):
    """To hash a key of the script's, as a copy of its dict may, takes its code."""
    if not _HASHED_IN_C.issuperset(map(id, map(type, dict.keys(value)))):
        raise NeedsScript


_HASHED_IN_C = {id(kind) for kind in (str, int, float, bool, type(None), bytes)}
_ordered_items = dict.items


def _of_items(base):
    def convert(value, room):
        if base.__len__(value) * 2 > room:
            raise TooLarge(base.__len__(value) * 2)
        return [*base.__iter__(value)]

    return convert


def _of_bytes(base):
    def convert(value, room):
        if base.__len__(value) > room:
            raise TooLarge(base.__len__(value))
        return bytes(base.__getitem__(value, slice(None)))

    return convert


_BASES = {
    dict: _of_dict,
    **{base: _of_items(base) for base in (list, tuple, set, frozenset)},
    str: lambda value, _: str.__str__(value),
    int: lambda value, _: int.__int__(value),
    float: lambda value, _: float.__float__(value),
    bytes: _of_bytes(bytes),
    bytearray: _of_bytes(bytearray),
}


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
    _add([collections.defaultdict, collections.Counter], _of_dict)
    global _ordered_items
    _ordered_items = collections.OrderedDict.items
    _add([collections.OrderedDict], _ordered)
    _add([collections.deque], _elements)
    # Each keeps what it stands for in an attribute of this name.
    _add([collections.UserDict, collections.UserList, collections.UserString], _data)


def _data(value, _):
    return dict.__getitem__(_attribute(value, "__dict__"), "data")


def _learn_datetime(datetime):
    _add([datetime.datetime, datetime.time], _moment)
    _add([datetime.date], lambda value, _: value.isoformat())
    _add([datetime.timedelta], lambda value, _: value.total_seconds())
    _add([datetime.timezone], _text)


def _moment(value, _):
    """A datetime, time or Timestamp; its offset is told by its time zone, which may be the script's."""
    zone = value.tzinfo
    if zone is not None:
        module = _module_of(type(zone))
        if type(module) is not str or module.partition(".")[0] not in _ZONES:
            _take_script_time()
    return value.isoformat()


_ZONES = ("datetime", "zoneinfo", "pytz", "dateutil")


def _learn_pathlib(pathlib):
    names = ["PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath"]
    _add([getattr(pathlib, name) for name in names], _text)


def _learn_ipaddress(ipaddress):
    kinds = ("Address", "Interface", "Network")
    _add([getattr(ipaddress, f"IPv{version}{kind}") for version in (4, 6) for kind in kinds], _text)


def _row(value, _):
    columns = dict(value)
    if len(columns) < len(value):
        raise Refused("a row with two columns of one name; name them apart, as SELECT a AS first, b AS second")
    return columns


def _text(value, _):
    return str(value)


def _elements(value, room):
    if len(value) * 2 > room:
        raise TooLarge(len(value) * 2)
    return [*value]


def _numbers(value, room):
    try:
        return _elements(value, room)
    except OverflowError:
        raise TooLarge from None


_add([set, frozenset, type({}.keys()), type({}.values()), type({}.items())], _elements)
_add([range], _numbers)
_add([bytearray, memoryview], lambda value, room: _bytes(value, room))
_add([complex], lambda value, _: [value.real, value.imag])
_add([types.SimpleNamespace], lambda value, _: _attribute(value, "__dict__"))


def _bytes(value, room):
    if memoryview(value).nbytes > room:
        raise TooLarge(memoryview(value).nbytes)
    return bytes(value)


_teachers = {
    "collections": _learn_collections,
    "datetime": _learn_datetime,
    "decimal": lambda decimal: _add([decimal.Decimal], _text),
    "fractions": lambda fractions: _add([fractions.Fraction], _text),
    "uuid": lambda uuid: _add([uuid.UUID], _text),
    "pathlib": _learn_pathlib,
    "ipaddress": _learn_ipaddress,
    "zoneinfo": lambda zoneinfo: _add([zoneinfo.ZoneInfo], _text),
    "re": lambda re: _add([re.Pattern], lambda value, _: value.pattern),
    "sqlite3": lambda sqlite3: _add([sqlite3.Row], _row),
    "array": lambda array: _add([array.array], _elements),
}


# --- what to say of the rest ----------------------------------------------------------------------------------


def _name(kind):
    name, module = _qualified_name_of(kind), _module_of(kind)
    if type(module) is str and module not in ("main", "__main__", "builtins"):
        name = f"{module}.{name}"
    return name[:120]


_REWRITES = {
    "async_generator": "an async generator; collect its items in a list and return that",
    "coroutine": "a coroutine that was not awaited; await it",
    "re.Match": "a regular expression match; return m.group() or m.groupdict()",
    "type": "a class; return data",
    "module": "a module; return data",
    "ellipsis": "an ellipsis (...); return None",
}
_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType,
    types.WrapperDescriptorType,
)  # fmt: skip


def _problem(value, kind):
    """One line for a person: what `value` is, and what to return instead."""
    name = _name(kind)
    if name in _REWRITES:
        return _REWRITES[name]
    if issubclass(kind, _FUNCTIONS):
        return "a function; call it and return what it gives"
    if issubclass(kind, BaseException):
        return f"an exception ({name}); return str(x), or raise it"
    if _inherited(kind, "fileno") is not None and _inherited(kind, "read") is not None:
        return f"an open file ({name}); return what file.read() gives"
    if name.startswith("pandas.") and any(word in name for word in ("GroupBy", "Resampler", "Rolling", "Expanding")):
        return f"a {name.rpartition('.')[2]}; aggregate it first, as .sum() or .mean()"
    for base in _mro_of(kind):
        if id(base) in _table:
            known = _name(base)
            return f"an instance of {name}, a subclass of {known}; return a plain {known.rpartition('.')[2]}"
    return f"an instance of {name}; return a dict, a list, text or a number made from it"


_KEY_REWRITES = {
    tuple: "'-'.join(map(str, key))",
    bytes: "key.decode()",
}


def problem_of_key(key):
    """One line for a person: what can't be the key of an object."""
    kind = type(key)
    rewrite = "str(key)"
    for base, better in _KEY_REWRITES.items():
        if issubclass(kind, base):
            rewrite = better
    return f"a dict with a key of type {_name(kind)}; make it text, as {rewrite}"


def problem_of_pair(text, first, second):
    """The same of two keys that become the same text."""
    kinds = " and ".join(dict.fromkeys(_name(type(key)) for key in (first, second)))
    return f"a dict in which two keys become the same text, {text[:60]!r} (of type {kinds}); make them differ"
