import pandas as pd


def main():
    records = [
        {"id": 1, "user": {"name": "ada", "admin": True}, "score": 1.5},
        {"id": 2, "user": {"name": "bo", "admin": False}},
    ]
    df = pd.json_normalize(records)
    return df[["id", "user.name", "user.admin", "score"]]
