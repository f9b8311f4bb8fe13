from datetime import date, datetime, time, timedelta, timezone


def main():
    moment = datetime(2024, 2, 29, 13, 45)
    return {
        "date": date(2024, 2, 29),
        "naive": moment,
        "micro": moment.replace(microsecond=250),
        "utc": moment.replace(tzinfo=timezone.utc),
        "offset": moment.replace(tzinfo=timezone(-timedelta(hours=5, minutes=30))),
        "time": time(7, 5, 9),
        "time_tz": time(7, 5, 9, tzinfo=timezone.utc),
    }
