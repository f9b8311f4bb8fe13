import pandas as pd


def main():
    return {
        "counted": pd.Series([3, 1, 3]).value_counts(),
        "counted, with a name": pd.Series([3, 1, 3], name="dice").value_counts(),
        "by id": pd.Series({101: 5, 205: 7}),
        "by id, named": pd.Series({101: 5, 205: 7}).rename_axis("id"),
        "rows by id": pd.DataFrame.from_dict({101: {"n": 5}}, orient="index"),
        "rows by id, named": pd.DataFrame.from_dict({101: {"n": 5}}, orient="index").rename_axis("id"),
        "of another size": pd.Series([1], index=pd.Index([3], dtype="uint8")),
        "that may miss": pd.Series([1], index=pd.Index([3], dtype="Int64")),
        "as objects": pd.Series([1], index=pd.Index([3], dtype=object)),
        "in one level": pd.Series([1], index=pd.MultiIndex.from_tuples([(3,)])),
        "grown": grown(),
        "empty": pd.DataFrame(columns=["a"])["a"],
    }


def grown():
    frame = pd.DataFrame(columns=["a"])
    frame.loc[len(frame)] = [1]
    return frame
