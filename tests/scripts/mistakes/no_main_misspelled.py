def Main():
    return 1
