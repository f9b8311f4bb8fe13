from datetime import datetime


def main():
    return datetime.strptime("2024-13-01", "%Y-%m-%d")
