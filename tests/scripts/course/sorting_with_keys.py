from operator import itemgetter


def main():
    students = [
        {"name": "Al", "grade": 2, "age": 20},
        {"name": "Bo", "grade": 1, "age": 22},
        {"name": "Cy", "grade": 2, "age": 19},
        {"name": "Di", "grade": 1, "age": 21},
    ]
    by_grade = sorted(students, key=lambda s: (s["grade"], -s["age"]))
    return {
        "by_grade": [s["name"] for s in by_grade],
        "by_length": sorted(["cc", "a", "ddd", "bb"], key=len),
        "max": max(students, key=itemgetter("age"))["name"],
    }
