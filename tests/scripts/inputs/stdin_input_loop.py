def main():
    count = int(input("how many? "))
    return {"total": sum(int(input("> ")) for _ in range(count))}
