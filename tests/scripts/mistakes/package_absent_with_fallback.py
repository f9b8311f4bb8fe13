try:
    import a_faster_json_that_nobody_has as json
except ImportError:
    import json


def main():
    return {"backend": json.__name__}
