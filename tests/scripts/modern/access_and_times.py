import os
import tempfile
from pathlib import Path


def main():
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "note.txt")
        note.write_text("hello")
        before = os.times()
        sum(i * i for i in range(20000))
        after = os.times()
        return {
            "read": os.access(note, os.R_OK),
            "write": os.access(note, os.W_OK),
            "run": os.access(note, os.X_OK),
            "there": os.access(note, os.F_OK),
            "missing": os.access(note.with_name("none"), os.F_OK),
            "folder": os.access(folder, os.R_OK | os.W_OK | os.X_OK),
            "temporary": os.access(tempfile.gettempdir(), os.W_OK),
            "library": os.access(os.__file__, os.R_OK),
            "time passed": after.user >= before.user and after.elapsed >= before.elapsed,
        }
