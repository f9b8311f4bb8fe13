from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo


def offset(moment):
    return moment.isoformat()[-6:]


def main():
    utc = datetime(2024, 7, 1, 12, tzinfo=timezone.utc)
    new_york, berlin = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
    before = datetime(2024, 3, 30, 12, tzinfo=berlin)
    after = before + timedelta(days=1)  # the same wall clock, one real hour less
    return {
        "oslo": utc.astimezone(ZoneInfo("Europe/Oslo")),
        "new_york": utc.astimezone(new_york),
        "kolkata": utc.astimezone(ZoneInfo("Asia/Kolkata")),
        "winter": offset(datetime(2024, 1, 1, tzinfo=new_york)),
        "summer": offset(datetime(2024, 7, 1, tzinfo=new_york)),
        "name": utc.astimezone(new_york).tzname(),
        "across_change": after.timestamp() - before.timestamp(),
        "fold": [offset(datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=berlin)) for fold in (0, 1)],
    }
