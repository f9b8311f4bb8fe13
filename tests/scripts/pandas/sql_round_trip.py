import sqlite3

import pandas as pd


def main():
    df = pd.DataFrame({"city": ["Oslo", "Rome", "Oslo"], "sales": [10, 5, 20]})
    connection = sqlite3.connect(":memory:")
    df.to_sql("sales", connection, index=False)
    query = "SELECT city, AVG(sales) AS mean FROM sales GROUP BY city ORDER BY city"
    return pd.read_sql_query(query, connection)
