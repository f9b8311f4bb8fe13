def main():
    print("hi")
    return "done"


main()
