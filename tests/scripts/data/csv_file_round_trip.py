import csv


def main():
    people = [{"name": "Zoë", "age": 31}, {"name": "李", "age": 45}]
    with open("people.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["name", "age"])
        writer.writeheader()
        writer.writerows(people)
    with open("people.csv", newline="", encoding="utf-8") as file:
        return [{**row, "age": int(row["age"])} for row in csv.DictReader(file)]
