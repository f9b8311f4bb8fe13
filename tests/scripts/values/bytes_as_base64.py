def main():
    return {"empty": b"", "text": b"hello", "binary": b"\x00\xff\x80\xfe"}
