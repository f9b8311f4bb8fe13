import re
from collections import Counter

TEXT = "The quick fox sees the dog, and the fox-dogs nap."


def main():
    words = re.findall(r"[a-z]+", TEXT.lower())
    counts = Counter(words)
    return {"top": counts.most_common(2), "total": len(words), "count": counts}
