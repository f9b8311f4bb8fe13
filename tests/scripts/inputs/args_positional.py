def main(a, b):
    return {"sum": a + b, "product": a * b}
