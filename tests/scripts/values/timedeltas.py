from datetime import timedelta


def main():
    return [timedelta(hours=1, minutes=30, milliseconds=500), -timedelta(milliseconds=250), timedelta(days=1, seconds=0.75)]
