import datetime
import json


def encode(value):
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"cannot encode {type(value).__name__}")


def main():
    record = {"tags": {"b", "a"}, "day": datetime.date(2024, 2, 29)}
    return json.dumps(record, default=encode, sort_keys=True, separators=(",", ":"))
