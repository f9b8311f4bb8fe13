import codecs
import string


def is_palindrome(text):
    kept = [c.lower() for c in text if c not in string.punctuation + string.whitespace]
    return kept == kept[::-1]


def main():
    text = "  the quick brown fox \n".strip()
    return {
        "title": text.title(),
        "reversed": text[::-1],
        "words": len(text.split()),
        "vowels": sum(text.count(v) for v in "aeiou"),
        "rot13": codecs.encode(text, "rot13"),
        "parts": list("key=a=b".partition("=")),
        "palindrome": is_palindrome("A man, a plan, a canal: Panama!"),
    }
