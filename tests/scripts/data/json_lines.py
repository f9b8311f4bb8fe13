import json
from collections import Counter

LINES = """{"kind": "click", "x": 1}
{"kind": "click",
{"kind": "view"}
{"kind": "click", "x": 4}"""


def main():
    kinds, bad = Counter(), []
    for number, line in enumerate(LINES.splitlines(), start=1):
        try:
            kinds[json.loads(line)["kind"]] += 1
        except json.JSONDecodeError:
            bad.append(number)
    return {"kinds": kinds, "bad": bad}
