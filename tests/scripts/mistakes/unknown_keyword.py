def main(name="World"):
    return f"Hello, {name}"
