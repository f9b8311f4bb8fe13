import csv
import io
import statistics


def main(text, minimum):
    rows = list(csv.DictReader(io.StringIO(text)))
    scores = [int(row["score"]) for row in rows]
    return {
        "mean": statistics.fmean(scores),
        "passed": [row["name"] for row in rows if int(row["score"]) >= minimum],
    }
