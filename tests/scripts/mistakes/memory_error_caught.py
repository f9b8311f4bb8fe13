def main():
    try:
        bytearray(10**12)
        fits = True
    except MemoryError:
        fits = False
    return {"fits": fits, "small": len(bytearray(10**6))}
