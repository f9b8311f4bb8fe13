from datetime import datetime, timedelta, tzinfo


class Zone(tzinfo):
    def utcoffset(self, when):
        return timedelta(hours=1)


def main():
    return {datetime(2024, 1, 1, tzinfo=Zone()): 1, "other": (n for n in range(2))}
