from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def main():
    try:
        ZoneInfo("Mars/Olympus")
    except ZoneInfoNotFoundError:
        return "no zone Mars/Olympus"
