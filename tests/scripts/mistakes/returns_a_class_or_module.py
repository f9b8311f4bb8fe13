import sys


def main():
    return {"ok": True, "version": sys}
