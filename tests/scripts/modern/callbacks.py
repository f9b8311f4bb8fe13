import ctypes
import gc


def main():
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 6)(5, 3, 9, -1, 4, 2)
    ctypes.CDLL(None).qsort(numbers, len(numbers), ctypes.sizeof(ctypes.c_int), compare(lambda a, b: a[0] - b[0]))
    mixed = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int, ctypes.c_char_p, ctypes.c_float)
    # Given back as they go, they are never used up.
    for _ in range(20):
        made = [mixed(lambda a, b, c, d, i=i: a + b + len(c) + d + i) for i in range(1000)]
        gc.collect()

    class Pair(ctypes.Structure):
        _fields_ = [("first", ctypes.c_long), ("second", ctypes.c_double)]

    sums = ctypes.CFUNCTYPE(ctypes.c_double, Pair, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long)
    return {
        "sorted": list(numbers),
        "mixed": [made[0](1.5, 2, b"abc", 0.25), made[999](1.5, 2, b"abc", 0.25)],
        "structure": sums(lambda pair, *more: pair.first + pair.second + sum(more))(Pair(1, 0.5), 1, 2, 3, 4, 5),
        "nested": mixed(lambda a, b, c, d: made[b](a, b, c, d))(0.0, 7, b"", 0.0),
    }
