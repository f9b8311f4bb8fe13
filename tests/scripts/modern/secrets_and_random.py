import random
import re
import secrets
import string


def main():
    password = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20))
    first, second = random.Random(42), random.Random(42)
    return {
        "hex": len(secrets.token_hex(16)),
        "urlsafe": bool(re.fullmatch(r"[\w-]{43}", secrets.token_urlsafe(32))),
        "differ": secrets.token_bytes(16) != secrets.token_bytes(16),
        "below": all(secrets.randbelow(10) < 10 for _ in range(100)),
        "seeded": [first.random() for _ in range(5)] == [second.random() for _ in range(5)],
        "sample": sorted(random.sample(range(5), 5)),
        "choice": len(password) == 20 and password.isalnum(),
        "system": 0 <= random.SystemRandom().random() < 1,
    }
