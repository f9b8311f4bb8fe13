def main():
    return math.sqrt(16)
