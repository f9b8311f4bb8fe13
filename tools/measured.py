"""What a page of docs/measured says of its making, for the tools that write one."""

import pathlib
import subprocess

HOME = pathlib.Path(__file__).resolve().parent.parent
MEASURED = HOME / "docs" / "measured"


def git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=HOME, check=True).stdout.strip()


def commit():
    """The commit of this tree, with `-dirty` if the tree differs from it: no test accepts a page that was made so. Other pages that
    were just measured make no difference."""
    changed = git("status", "--porcelain", "--", ".", ":!docs/measured")
    return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def origin(command):
    """The line below the title."""
    return f"Command: `{command}`. Commit: `{commit()}`."


if __name__ == "__main__":
    print(commit())
