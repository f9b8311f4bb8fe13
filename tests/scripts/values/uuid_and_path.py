import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath


def main():
    return [
        uuid.UUID("12345678123456781234567812345678"),
        Path("data") / "report.csv",
        PurePosixPath("/srv/x"),
        PureWindowsPath("C:/x"),
    ]
