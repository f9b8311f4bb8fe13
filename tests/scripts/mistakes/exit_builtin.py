def main():
    if not []:
        exit(1)
    return "not reached"
