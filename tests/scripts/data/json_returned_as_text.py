import json


def main():
    return json.dumps({"a": [1, 2.5, None, True], "b": "é"})
