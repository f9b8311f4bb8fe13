import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def main():
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("notes").mkdir()
        Path("notes/today.txt").write_text("milk")
        with contextlib.chdir("notes"):
            inside = sorted(os.listdir())
        archive = shutil.make_archive("backup", "zip", "notes")
        shutil.unpack_archive(archive, "restored")
        shutil.copytree("notes", "copy")
        found = sorted(str(path) for path in Path(".").rglob("*.txt"))
        shutil.rmtree("copy")
        left = sorted(os.listdir())
        os.chdir(home)
    return {"inside": inside, "found": found, "left": left, "gone": not Path(folder).exists(), "back": Path.cwd() == home}
