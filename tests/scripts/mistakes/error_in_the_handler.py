def main():
    try:
        return [][0]
    except IndexError as error:
        {}.warning(error)
