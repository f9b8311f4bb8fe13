def main(*values):
    return {"types": [type(value).__name__ for value in values], "back": values}
