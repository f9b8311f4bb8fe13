from datetime import datetime, timedelta, tzinfo


class Plus(tzinfo):
    def __init__(self, hours):
        self.hours = hours

    def utcoffset(self, moment):
        return timedelta(hours=self.hours)

    def dst(self, moment):
        return timedelta(0)


def main():
    return [datetime(2024, 1, 1, tzinfo=Plus(5)), datetime(2024, 1, 1, tzinfo=Plus(-3)).timetz()]
