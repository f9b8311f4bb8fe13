import requests


def main():
    return requests.get("https://example.com").status_code
