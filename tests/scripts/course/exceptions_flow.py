def divide(a, b):
    steps = ["try"]
    try:
        a / b
    except ZeroDivisionError as error:
        steps.append(f"except {type(error).__name__}")
    else:
        steps.append("else")
    finally:
        steps.append("finally")
    return steps


def wrap():
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("no such setting") from error


def main():
    try:
        wrap()
    except ValueError as error:
        reraised = f"{type(error).__name__} from {type(error.__cause__).__name__}"
    return {"ok": divide(1, 2), "bad": divide(1, 0), "reraised": reraised}
