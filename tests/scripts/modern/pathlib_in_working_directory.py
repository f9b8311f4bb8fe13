from pathlib import Path


def listing():
    return sorted(path.name for path in Path(".").iterdir())


def main():
    before = listing()
    Path("draft.md").write_text("one\ntwo\nthree\n")
    Path("old.log").touch()
    Path("draft.md").rename("notes.md")
    after = listing()
    with open("notes.md") as file:
        lines = sum(1 for _ in file)
    Path("old.log").unlink()
    return {"before": before, "after": after, "lines": lines, "left": listing()}
