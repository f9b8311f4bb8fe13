import unicodedata


def main():
    composed, decomposed = "é", "e\u0301"
    family = "👨\u200d👩\u200d👧\u200d👦"
    stripped = unicodedata.normalize("NFKD", "Crème brûlée").encode("ascii", "ignore").decode()
    return {
        "equal_raw": composed == decomposed,
        "equal_nfc": composed == unicodedata.normalize("NFC", decomposed),
        "fold": "Straße".casefold() == "STRASSE".casefold(),
        "lengths": [len(composed), len(decomposed), len(family)],
        "ascii": stripped,
        "name": unicodedata.name("☃"),
        "category": unicodedata.category("४"),
        "number": unicodedata.numeric("४"),
        "utf8": "🦋".encode().hex(),
        "upper": "straße".upper(),
        "rtl": unicodedata.bidirectional("א"),
        "echo": "héllo 世界 🦋 \0 \" \\ \u2028",
    }
