def share(total, people):
    return total / people


def main():
    return {"each": share(100, 0)}
