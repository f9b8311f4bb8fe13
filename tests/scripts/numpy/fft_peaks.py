import numpy as np


def main():
    rate, seconds = 256, 1
    t = np.arange(rate * seconds) / rate
    signal = 2 * np.sin(2 * np.pi * 5 * t) + 0.5 * np.cos(2 * np.pi * 20 * t)
    spectrum = np.fft.rfft(signal)
    amplitude = np.abs(spectrum) * 2 / len(signal)
    strongest = np.sort(np.argsort(amplitude)[-2:])
    return {
        "peaks_hz": np.fft.rfftfreq(len(signal), 1 / rate)[strongest],
        "amplitudes": amplitude[strongest].round(6),
        "round_trip": bool(np.allclose(np.fft.irfft(spectrum), signal)),
        "bins": len(spectrum),
    }
