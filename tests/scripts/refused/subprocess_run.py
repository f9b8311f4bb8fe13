import subprocess


def main():
    return subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout
