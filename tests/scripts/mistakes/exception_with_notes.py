def main():
    try:
        raise ValueError("größe fehlt\nzeile zwei ☂")
    except ValueError as error:
        error.add_note("while reading row 7")
        raise error
