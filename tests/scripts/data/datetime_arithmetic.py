import calendar
from datetime import date, datetime, timedelta


def main():
    moment = datetime.strptime("2024-02-29 13:45", "%Y-%m-%d %H:%M")
    born, today = date(1990, 6, 15), date(2024, 2, 29)
    return {
        "days": (date(2025, 1, 1) - date(2024, 1, 1)).days,
        "weekday": moment.strftime("%A"),
        "week": list(moment.isocalendar()),
        "formatted": f"{moment:%d/%m/%Y %H:%M}",
        "end_of_month": calendar.monthrange(2024, 2)[1],
        "age": today.year - born.year - ((today.month, today.day) < (born.month, born.day)),
        "next": moment + timedelta(weeks=1),
    }
