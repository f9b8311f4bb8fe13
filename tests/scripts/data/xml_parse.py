import xml.etree.ElementTree as ET

XML = """<?xml version="1.0"?>
<c:catalog xmlns:c="urn:catalog">
  <c:book id="b1"><c:title>Flies &amp; Gnats</c:title><c:price>9.99</c:price></c:book>
  <c:book id="b2"><c:title>Ponds</c:title><c:price>12</c:price></c:book>
</c:catalog>"""


def main():
    spaces = {"c": "urn:catalog"}
    books = ET.fromstring(XML).findall("c:book", spaces)
    made = ET.Element("list")
    for number, letter in enumerate("ab", start=1):
        ET.SubElement(made, "item", n=str(number)).text = letter
    return {
        "titles": [book.findtext("c:title", namespaces=spaces) for book in books],
        "prices": {book.get("id"): float(book.findtext("c:price", namespaces=spaces)) for book in books},
        "text": ET.tostring(made, encoding="unicode"),
    }
