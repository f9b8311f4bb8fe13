import os
import shutil
import tempfile


def main():
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write("hello")
    copy = shutil.copyfile(file.name, file.name + ".bak")
    with open(copy) as stream:
        copied = stream.read()
    os.unlink(file.name)
    os.unlink(copy)
    return {"copied": copied, "removed": not os.path.exists(file.name)}
