import datetime
import ipaddress
import re
import zoneinfo
from fractions import Fraction


def main():
    return {
        "fraction": [Fraction(1, 3), Fraction(4, 2)],
        "address": [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("2001:db8::/32")],
        "pattern": re.compile(r"\d+"),
        "zone": [zoneinfo.ZoneInfo("Europe/Oslo"), datetime.timezone.utc],
    }
