import pandas as pd


def main():
    df = pd.DataFrame(
        {"region": ["east", "east", "west"], "item": ["a", "b", "a"], "amount": [10, 20, 5]}
    )
    table = df.pivot_table(
        index="region", columns="item", values="amount", aggfunc="sum", fill_value=0, margins=True
    )
    return table.astype(int).reset_index()
