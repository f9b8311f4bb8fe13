import json
import re


def main():
    log = "\n".join(f"2024-01-{day:02d} ERROR code={day * 7 % 13} user=u{day}@example.com" for day in range(1, 31))
    found = re.findall(r"(\d{4}-\d\d-\d\d) (\w+) code=(\d+) user=([\w.]+@[\w.]+)", log)
    rows = [{"day": day, "level": level, "code": int(code), "user": user} for day, level, code, user in found]
    return json.loads(json.dumps({"rows": rows, "codes": sorted({row["code"] for row in rows})}))
