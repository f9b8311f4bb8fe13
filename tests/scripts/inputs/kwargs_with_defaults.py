def main(name, greeting="Good morning", *, excited=False):
    return f"{greeting}, {name}{'!' if excited else '.'}"
