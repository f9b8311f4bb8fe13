"""Reads the parts of a result that take code of the script to read: generators, and classes that say themselves what they hold.

Runs in the jail, in the namespace of values.py, only when `simplify` met such a part, and before the result is read: in the
script's own time, under its limits, and what is raised is the script's exception.
"""

import _collections_abc

# By id, as types are in `_table`: the abstract classes, and the views of a dict that an OrderedDict's derive from.
_COLLECTIONS = {
    id(kind)
    for kind in (
        _collections_abc.Mapping, _collections_abc.Sequence, _collections_abc.Set, type({}.keys()), type({}.values()),
        type({}.items()),
    )
}  # fmt: skip

_DEPTH = 130
_end = object()


def _is_read_by_script(kind):
    """Whether `_by_script` knows what to do with an instance."""
    if _inherited(kind, "__next__") is not None:
        return _inherited(kind, "fileno") is None  # a file is an iterator, too
    if kind is types.MappingProxyType or _dump_of(kind) is not None:
        return True
    return any(id(base) in _COLLECTIONS for base in _mro_of(kind))


def _dump_of(kind):
    """The name of the method by which a model, as pydantic's, gives its fields."""
    if callable(_inherited(kind, "model_dump")):
        return "model_dump"
    # Before its version 2.
    return "dict" if type(_inherited(kind, "__fields__")) is dict and callable(_inherited(kind, "dict")) else None


def _by_script(value):
    """The value as plain data, or an iterator over what it holds."""
    kind = type(value)
    if _inherited(kind, "__next__") is not None:
        return iter(value)
    if kind is types.MappingProxyType:
        return dict(value)
    if issubclass(kind, dict):
        ordered = getattr(sys.modules.get("collections"), "OrderedDict", ())
        return dict(_ordered_items(value) if issubclass(kind, ordered) else dict.items(value))
    dump = _dump_of(kind)
    if dump is not None:
        return getattr(value, dump)()
    names = _field_names(kind)
    if names is not None:
        return {name: getattr(value, name) for name in names}
    if isinstance(value, _collections_abc.Mapping):
        return dict(value.items())
    if isinstance(value, getattr(sys.modules.get("collections"), "UserString", ())):
        return str(value)
    return iter(value)


def settle(value, room):
    """A copy of `value` in which every part that only the script's code can read was read by it.

    What can't be written at all stays as it is: the encoder names it by its place. An iterator is read to its end, but no further
    than the result may be long, and each item before the next is asked for.
    """
    global _is_script_time
    _is_script_time = True
    try:
        return _settled(value, room)
    finally:
        _is_script_time = False


def _settled(value, room):
    left = room
    whole = []
    open_parts = [(iter((value,)), whole)]
    while open_parts:
        source, target = open_parts[-1]
        item = next(source, _end)
        if item is _end:
            open_parts.pop()
            continue
        left -= 2
        if left < 0:
            raise TooLarge
        if type(target) is dict:
            key, item = item
            key = _settled_key(key, left)
        item, source = _opened(item, left)
        if type(target) is dict:
            target[key] = item
        else:
            target.append(item)
        if source is not None:
            if len(open_parts) == _DEPTH:
                break
            open_parts.append((source, item))
    return whole[0]


def _opened(value, room):
    """What stands for `value` in the copy; and where it is a container, empty yet, what it is to hold."""
    for _ in range(8):
        kind = type(value)
        if kind in _LEAVES:
            return value, None
        if kind is dict:
            return {}, iter([*value.items()])
        if kind in (list, tuple):
            return [], iter([*value])
        try:
            simpler = simplify(value, room)
        except Refused:
            return value, None
        except NeedsScript:
            value = _by_script(value)
            if _inherited(type(value), "__next__") is not None:
                return [], value
        else:
            if lost:
                # The encoder tells of it, and where.
                lost.clear()
                return value, None
            value = simpler
    return value, None


class _Text(str):
    """The text of a key that takes the script's code to read: a key of its own, also beside that very text."""

    __module__, __qualname__ = "builtins", "text"
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


def _settled_key(key, room):
    """A key as it was, or as text where it takes the script's code to read."""
    if not _takes_script(key, room):
        return key
    text = _key_text(key)
    return key if text is None else _Text(text)


def _takes_script(key, room):
    global _is_script_time
    _is_script_time = False
    try:
        for _ in range(8):
            if type(key) in (*_LEAVES, dict, list, tuple):
                break
            key = simplify(key, room)
    except NeedsScript:
        return True
    except Exception:  # noqa: BLE001 - the encoder meets it again, and names it by its place
        return False
    finally:
        _is_script_time = True
        lost.clear()
    return False


_LEAVES = (str, int, float, bool, type(None), bytes)
