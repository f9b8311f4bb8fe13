import numpy as np


def main():
    picture = np.zeros((4, 6), dtype=np.int64)
    picture[:, 3:] = 1
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3))
    edges = np.einsum("ijkl,kl->ij", windows, sobel)
    return {"edges": edges, "dtype": str(edges.dtype), "padded": np.pad(edges, 1).shape}
