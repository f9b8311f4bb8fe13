import hashlib
import hmac


def main():
    streamed = hashlib.sha256()
    for piece in (b"a", b"b", b"c"):
        streamed.update(piece)
    return {
        "md5": hashlib.md5(b"abc").hexdigest(),
        "sha1": hashlib.sha1(b"abc").hexdigest(),
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "sha3": hashlib.sha3_256(b"abc").hexdigest(),
        "blake2s": hashlib.blake2s(b"abc").hexdigest(),
        "hmac": hmac.new(b"Jefe", b"what do ya want for nothing?", "sha256").hexdigest(),
        "pbkdf2": hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 1).hex(),
        "same": hmac.compare_digest(streamed.digest(), hashlib.sha256(b"abc").digest()),
    }
