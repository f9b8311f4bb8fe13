import bz2
import gzip
import io
import lzma
import zipfile
import zlib


def main():
    data = b"mayflies live for one day. " * 200
    modules = {"zlib": zlib, "gzip": gzip, "bz2": bz2, "lzma": lzma}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "alpha")
        archive.writestr("dir/b.txt", "beta")
    with zipfile.ZipFile(buffer) as archive:
        unpacked = {name: archive.read(name).decode() for name in archive.namelist()}
    return {
        "round_trips": {name: m.decompress(m.compress(data)) == data for name, m in modules.items()},
        "smaller": all(len(m.compress(data)) < len(data) / 10 for m in modules.values()),
        "crc32": zlib.crc32(b"123456789"),
        "adler32": zlib.adler32(b"123456789"),
        "zip": unpacked,
    }
