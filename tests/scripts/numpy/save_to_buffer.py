import io

import numpy as np


def main():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.array([1, 2, 3]), b=np.array([[0.5, 1.5]]))
    buffer.seek(0)
    loaded = np.load(buffer)
    text = io.StringIO()
    np.savetxt(text, np.array([[1, 2], [3, 4]]), fmt="%d", delimiter=",")
    return {"names": sorted(loaded.files), "a": loaded["a"], "b": loaded["b"], "text": text.getvalue()}
