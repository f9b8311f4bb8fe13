def main():
    print "hello"
    return 1
