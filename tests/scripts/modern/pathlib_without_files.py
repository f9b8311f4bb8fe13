from pathlib import PurePosixPath, PureWindowsPath


def main():
    path = PurePosixPath("/srv") / "data" / "report.tar.gz"
    return {
        "parts": path.parts,
        "suffixes": path.suffixes,
        "stem": path.stem,
        "sibling": str(path.with_name("report.csv")),
        "relative": str(path.relative_to("/srv")),
        "matches": path.match("*.gz"),
        "windows": str(PureWindowsPath("C:/users") / "ada"),
    }
