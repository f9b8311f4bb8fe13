import pandas as pd


def main():
    orders = pd.DataFrame(
        {
            "user": ["a", "a", "b", "c", "a"],
            "day": pd.to_datetime(["2024-01-03", "2024-02-10", "2024-01-20", "2024-02-02", "2024-01-09"]),
        }
    )
    orders["month"] = orders["day"].dt.year * 12 + orders["day"].dt.month
    orders["first"] = orders.groupby("user")["month"].transform("min")
    orders["age"] = orders["month"] - orders["first"]
    users = orders.groupby(["first", "age"])["user"].nunique().unstack(fill_value=0)
    retention = users.div(users[0], axis=0)
    names = [f"{(m - 1) // 12}-{(m - 1) % 12 + 1:02d}" for m in users.index]
    return {"cohorts": names, "retention": retention.to_numpy().round(3)}
