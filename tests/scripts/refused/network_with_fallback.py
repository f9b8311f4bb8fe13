import urllib.error
import urllib.request

CACHE = {"EURUSD": 1.08}


def rate(pair):
    try:
        with urllib.request.urlopen(f"http://192.0.2.1/{pair}", timeout=2) as response:
            return "network", float(response.read())
    except (urllib.error.URLError, OSError):
        return "cache", CACHE[pair]


def main():
    source, value = rate("EURUSD")
    return {"source": source, "rate": value}
