def main():
    return ["", "\"\\/", "\0\1\b\t\n\f\r\x1f\x7f", "é", "世界", "🦋", "\u2028\u2029\ufeff\ufffe"]
