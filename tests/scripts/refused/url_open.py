from urllib.request import urlopen


def main():
    with urlopen("http://192.0.2.1/", timeout=2) as response:
        return response.read().decode()
