import base64
import struct


def main():
    key = b"secret"
    mixed = bytes(a ^ b for a, b in zip(b"Mayfly", key))
    return {
        "packed": struct.pack("<IBx", 1, 255).hex(),
        "unpacked": struct.unpack(">hf", struct.pack(">hf", 1, -1.5)),
        "b64": base64.b64encode(b"hi?>").decode(),
        "url": base64.urlsafe_b64encode(b"hi?>").decode(),
        "bits": (0b1011).bit_count(),
        "int": int.from_bytes(b"\x01\x02", "big"),
        "xor": bytes(a ^ b for a, b in zip(mixed, key)).decode(),
    }
