import re
from operator import add, mul, sub, truediv

TOKEN = re.compile(r"\s*(?:(\d+\.?\d*)|(\*\*|.))")
OPERATORS = {"+": add, "-": sub, "*": mul, "/": truediv}


class Parser:
    def __init__(self, text):
        self.tokens = [(m[1], m[2], m.start(1 if m[1] else 2)) for m in TOKEN.finditer(text)]
        self.position = 0

    def peek(self):
        return self.tokens[self.position][1] if self.position < len(self.tokens) else None

    def take(self):
        token = self.tokens[self.position]
        self.position += 1
        return token

    def expression(self):
        value = self.term()
        while self.peek() in ("+", "-"):
            value = OPERATORS[self.take()[1]](value, self.term())
        return value

    def term(self):
        value = self.power()
        while self.peek() in ("*", "/"):
            value = OPERATORS[self.take()[1]](value, self.power())
        return value

    def power(self):
        base = self.atom()
        if self.peek() == "**":
            self.take()
            return base ** self.power()
        return base

    def atom(self):
        number, symbol, at = self.take()
        if number:
            return float(number) if "." in number else int(number)
        if symbol == "-":
            return -self.atom()
        if symbol == "(":
            value = self.expression()
            self.take()
            return value
        raise SyntaxError(f"unexpected {symbol!r} at {at}")


def main():
    texts = ["1 + 2 * 3", "(1 + 2) * 3", "5 / 2", "-2 * 4", "2 ** 3 ** 2"]
    try:
        Parser("1 + )").expression()
    except SyntaxError as error:
        message = str(error)
    return {"values": [Parser(text).expression() for text in texts], "error": message}
