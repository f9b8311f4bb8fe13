from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin

PAGE = """<p>See <a href="/docs?page=2">Docs</a> or <a class=x href='https://example.org/'>Elsewhere &amp; more</a></p>"""


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.href = [], None

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.href = urljoin("https://example.com/index.html", dict(attrs)["href"])

    def handle_data(self, data):
        if self.href:
            self.links.append([self.href, data])

    def handle_endtag(self, tag):
        self.href = None


def main():
    parser = Links()
    parser.feed(PAGE)
    return {
        "links": parser.links,
        "query": parse_qs("a=1&a=2&b=x+y"),
        "encoded": urlencode({"q": "café au lait", "n": 3}),
    }
