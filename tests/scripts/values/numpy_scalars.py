import numpy as np


def main():
    return {
        "int8": np.int8(-5),
        "uint64": np.uint64(2**64 - 1),
        "int64": np.int64(2**53 + 1),
        "float32": np.float32(0.5),
        "float64": np.float64(0.1),
        "float16": np.float16(1.5),
        "bool": [np.bool_(True), np.bool_(False)],
        "nan": np.float64("nan"),
        "inf": np.float32("inf"),
        "zero_d": np.array(7),
    }
