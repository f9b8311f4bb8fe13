def main():
    while True:
        print("still here")
