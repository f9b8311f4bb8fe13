import csv
import io


def main():
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=["id", "name", "score"], delimiter=";")
    writer.writeheader()
    writer.writerow({"id": 1, "name": "Doe; Jane", "score": 9.5})
    writer.writerow({"id": 2, "name": 'O"Hara', "score": 7})
    return buffer.getvalue()
