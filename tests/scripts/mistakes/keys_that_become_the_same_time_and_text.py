from datetime import datetime, timedelta, tzinfo


class Zone(tzinfo):
    def utcoffset(self, when):
        return timedelta(hours=1)


def main():
    return [{datetime(2024, 1, 1, tzinfo=Zone()): 1, "2024-01-01T00:00:00+01:00": 2}]
