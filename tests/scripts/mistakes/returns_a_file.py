import io


def main():
    return {"file": io.StringIO("text")}
