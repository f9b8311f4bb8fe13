def main():
    try:
        return {"value": 1 / 0}
    except ZeroDivisionError as error:
        return {"value": None, "error": error}
