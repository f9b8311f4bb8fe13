import re

LINE = re.compile(
    r"""
    ^(?P<ip>\d+(?:\.\d+){3})\s     # address
    "(?P<method>[A-Z]+)\s
    (?P<path>\S+)"\s               # with its query
    (?P<status>\d{3})$
    """,
    re.VERBOSE | re.MULTILINE,
)
LOG = '10.0.0.1 "GET /a" 200\n10.0.0.2 "POST /b?x=1" 404\nbroken line'


def main():
    parsed = [m.groupdict() | {"status": int(m["status"])} for m in LINE.finditer(LOG)]
    masked = re.sub(r"(\d+\.\d+)\.\d+\.\d+", r"\1.*.*", "10.0.0.1 and 10.0.0.2")
    emails = re.findall(r"[\w.+-]+@[\w-]+\.\w+", "mail a.b@example.com, c+d@example.org; not@ this")
    return {"parsed": parsed, "masked": masked, "emails": emails}
