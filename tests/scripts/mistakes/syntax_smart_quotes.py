def main():
    return “hello”
