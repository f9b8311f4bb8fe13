import locale


def main():
    named = locale.setlocale(locale.LC_ALL, "") is not None
    chosen = locale.setlocale(locale.LC_ALL, "C.UTF-8")
    words = sorted(["zebra", "été", "apple", "Zoo"], key=locale.strxfrm)
    return [named, chosen, words, locale.format_string("%.2f", 1234.5, grouping=True), locale.localeconv()["decimal_point"]]
