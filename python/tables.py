"""The rows of the value table for numpy and pandas.

Runs in the jail, in the namespace of values.py. Each is learned when its module is loaded. What a table's index means goes by
the kind of index, never by the labels in it, so that the shape of an answer does not change with the data.
"""


# --- numpy ----------------------------------------------------------------------------------------------------


def _learn_numpy(numpy):
    scalars = {*numpy.sctypeDict.values()}
    longs = {numpy.longdouble, numpy.clongdouble}
    _add([numpy.matrix, numpy.recarray, numpy.ma.MaskedArray, numpy.ndarray], _array)
    _add([type(numpy.ma.masked)], lambda _value, _room: None)
    for kind in scalars:
        if issubclass(kind, (numpy.datetime64, numpy.timedelta64, numpy.void, numpy.complexfloating)) or kind in longs:
            _add([kind], lambda value, room: _array(numpy.asarray(value), room))
        else:
            _add([kind], lambda value, _: value.item())
    _add({type(numpy.dtype(code)) for code in numpy.typecodes["All"]}, _text)


def _array(array, room):
    # An array of no elements may still be a long list of empty ones.
    parts = 1
    for length in array.shape:
        if length == 0:
            break
        parts *= length
    if parts * 2 > room:
        raise TooLarge(parts * 2)
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize > 8:
        return _rounded(array).tolist()
    if kind == "c":
        return _complexes(array, room)
    if kind == "M":
        return _unmasked(array, _each(sys.modules["numpy"].datetime_as_string(_bare(array)), _iso))
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


def _rounded(array):
    """Numbers of more than 64 bits as floats."""
    floats = array.astype("f8")
    if ((floats != array) & (array == array)).any():
        lost.append(f"a {array.dtype.name} rounded to a float")
    return floats


def _complexes(array, room):
    pairs = zip(_array(array.real.reshape(-1), room // 2), _array(array.imag.reshape(-1), room // 2), strict=True)
    return _unmasked(array, _reshaped([[*pair] for pair in pairs], array.shape))


def _bare(array):
    """The array under a mask; what is hidden there need not be valid."""
    numpy = sys.modules["numpy"]
    return array.filled(array.dtype.type("NaT")) if issubclass(type(array), numpy.ma.MaskedArray) else array


def _unmasked(array, items):
    """`items`, nested as `array`, with null for what a mask hides."""
    numpy = sys.modules["numpy"]
    if not issubclass(type(array), numpy.ma.MaskedArray) or not array.shape:
        return items
    hidden = numpy.ma.getmaskarray(array)

    def hide(part, mask):
        if mask.ndim == 0:
            return None if mask else part
        return [hide(item, below) for item, below in zip(part, mask, strict=True)]

    return hide(items, hidden)


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


_classes = {}


def _learn_pandas(pandas):
    _classes["MultiIndex"], _classes["RangeIndex"] = pandas.MultiIndex, pandas.RangeIndex
    _add([pandas.DataFrame], _frame)
    _add([pandas.Series], _series)
    indexes = [
        "Index", "RangeIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "CategoricalIndex", "IntervalIndex",
        "MultiIndex",
    ]  # fmt: skip
    _add([getattr(pandas, name) for name in indexes], _column)
    arrays = [getattr(pandas.arrays, name) for name in dir(pandas.arrays) if name.endswith("Array")]
    _add([pandas.Categorical, *arrays], _extension)
    dtypes = [getattr(pandas, name) for name in dir(pandas) if name.endswith("Dtype")]
    _add(dtypes, _text)
    _add([pandas.Timestamp], _moment)
    _add([pandas.Timedelta], lambda value, _: _seconds(value.to_timedelta64()))
    _add([pandas.Period, pandas.Interval], _text)
    _add([type(pandas.NaT), type(pandas.NA)], lambda _value, _room: None)


def _is_row_number(index):
    """Whether an index only counts rows: one without a name, and of integers. Any other is data."""
    if _is_in_levels(index) or index.names[0] is not None:
        return False
    if type(index) is not _classes["RangeIndex"]:  # of which an array would have to be made
        _check_made(index.array)
    return index.dtype.kind in "iu"


def _is_in_levels(index):
    """Whether it is a MultiIndex; one may have a single level."""
    return issubclass(type(index), _classes["MultiIndex"])


def _levels(index, room):
    """An index's levels as columns, under their names."""
    if _is_in_levels(index):
        levels = [index.get_level_values(number) for number in range(index.nlevels)]
        names = [f"level_{number}" for number in range(index.nlevels)]
    else:
        levels, names = [index], ["index"]
    for number, level in enumerate(levels):
        if level.name is not None:
            names[number] = _label(level.name, "index level")
    return names, [_column(level, room) for level in levels]


def _frame(frame, room):
    index = frame.index
    rows, width = frame.shape
    levels = 0 if _is_row_number(index) else index.nlevels
    if (parts := rows * max(width + levels, 1)) * 2 > room:
        raise TooLarge(parts * 2)
    labels = [_label(label, "column") for label in frame.columns]
    _check_labels(labels)
    columns = [_column(frame.iloc[:, position], room) for position in range(width)]
    if levels:
        names, data = _levels(index, room)
        _check_labels(names, labels)
        labels, columns = names + labels, data + columns
    if not columns:
        return [{} for _ in range(rows)]
    return [dict(zip(labels, row, strict=True)) for row in zip(*columns, strict=True)]


def _check_labels(labels, columns=None):
    """Refuses two of one name: columns, or the levels of an index, which stand beside `columns`."""
    seen = set()
    for label in labels:
        if label in seen:
            what = "columns" if columns is None else "index levels"
            raise Refused(f"a DataFrame with two {what} of one name, {label[:60]!r}; rename one")
        seen.add(label)
    for label in seen.intersection(columns or ()):
        raise Refused(
            f"a DataFrame whose index and a column are both named {label[:60]!r}; rename the index, as "
            "df.rename_axis(...), or leave it out by df.reset_index(drop=True)"
        )


def _series(series, room):
    """A list where the index only counts; else an object by label, or records where labels repeat or are no keys."""
    index = series.index
    if _is_row_number(index):
        return _column(series, room)
    count = len(series)
    if count * 3 > room:
        raise TooLarge(count * 3)
    values = _column(series, room)
    if not _is_in_levels(index):
        keys = [_key_text(label) for label in _column(index, room)]
        if None not in keys and len({*keys}) == count:
            return dict(zip(keys, values, strict=True))
    names, columns = _levels(index, room)
    own = "value" if series.name is None else _label(series.name, "name")
    labels = [*names, own]
    if len({*labels}) < len(labels):
        raise Refused("a Series of which two index levels, or one and the values, have one name; rename, as s.rename(...)")
    return [dict(zip(labels, row, strict=True)) for row in zip(*columns, values, strict=True)]


def _key_text(label):
    """A label as the key of an object, None where it is no key. What Rust makes of a dict's key is the same."""
    for _ in range(3):
        kind = type(label)
        if kind is str:
            return label
        if kind is float:
            return _float_text(label)
        if kind is int:
            return str(label) if label.bit_length() < 14_000 else None
        if label is None:
            return "null"
        if kind is bool:
            return "true" if label else "false"
        if kind in (tuple, list, dict, bytes):
            return None
        try:
            label = simplify(label, sys.maxsize)
        except (Refused, NeedsScript):
            return None
    return None


def _float_text(number):
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(number)


def _label(label, what):
    """The name of a column or a level as text, the key of a record."""
    if type(label) is tuple:
        raise Refused(
            f"a DataFrame with {what}s in levels, as {_shown(label)}; "
            "flatten them: df.columns = ['_'.join(map(str, c)) for c in df.columns]"
        )
    text = _key_text(label)
    if text is None:
        raise Refused(f"a DataFrame with a {what} whose name is a {_name(type(label))}, which has no one text; rename it")
    return text


def _shown(label):
    """A tuple's parts, where to print them takes no code of the script."""
    parts = (repr(part) if type(part) in (str, int, float, bool) else "…" for part in label)
    return f"({', '.join(parts)})"


def _column(column, room):
    """The values of a Series or an Index."""
    if len(column) * 2 > room:
        raise TooLarge(len(column) * 2)
    if _is_in_levels(column):
        return list(column)
    array = column.array
    _check_made(array)
    if isinstance(column.dtype, sys.modules["numpy"].dtype):
        return _array(column.to_numpy(), room)
    return _extension(array, room)


def _extension(array, room):
    _check_made(array)
    if len(array) * 2 > room:
        raise TooLarge(len(array) * 2)
    return list(array)


def _check_made(array):
    """The script may have arrays of its own under a column, which say themselves what they hold."""
    if id(type(array)) not in _table and _module_of(type(array)) in ("main", "__main__"):
        _take_script_time()


_teachers["numpy"] = _learn_numpy
_teachers["pandas"] = _learn_pandas
