def main():
    return {True: "yes", False: "no"}
