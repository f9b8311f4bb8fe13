import sqlite3


def main():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("SELECT 1 AS a, 2 AS a").fetchall()
