import tempfile
from pathlib import Path


def main():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "sub").mkdir()
        (root / "a.txt").write_text("naïve ☃\n", encoding="utf-8")
        (root / "sub" / "b.txt").write_bytes(b"\x00\x01")
        files = sorted(str(path.relative_to(root)) for path in root.rglob("*.txt"))
        text = (root / "a.txt").read_text(encoding="utf-8")
        size = (root / "a.txt").stat().st_size
        suffix = (root / "a.txt").suffix
    return {"files": files, "text": text, "size": size, "suffix": suffix, "gone": not root.exists()}
