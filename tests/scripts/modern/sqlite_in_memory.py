import sqlite3


def main():
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.executescript(
        """
        CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
        CREATE TABLE book (author_id INTEGER REFERENCES author, pages INTEGER);
        """
    )
    db.executemany("INSERT INTO author (name) VALUES (?)", [("Ada",), ("Bo",)])
    db.executemany("INSERT INTO book VALUES (?, ?)", [(1, 100), (1, 200)])
    db.commit()
    error = None
    try:
        with db:
            db.execute("INSERT INTO author (name) VALUES ('Cy')")
            db.execute("INSERT INTO author (name) VALUES ('Ada')")
    except sqlite3.IntegrityError as caught:
        error = str(caught)
    authors = db.execute(
        """
        SELECT name, COUNT(pages) AS books, SUM(pages) AS pages
        FROM author LEFT JOIN book ON author.id = author_id GROUP BY author.id ORDER BY name
        """
    )
    window = db.execute("SELECT rowid, SUM(pages) OVER (ORDER BY rowid) FROM book")
    return {
        "authors": [dict(row) for row in authors],
        "rolled_back": db.execute("SELECT COUNT(*) FROM author").fetchone()[0],
        "error": error,
        "window": [tuple(row) for row in window],
    }
