import io
import sys


def main():
    sys.stdout = io.StringIO()
    print("lost")
    sys.stdout.close()
    return {"fine": True}
