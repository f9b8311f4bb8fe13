class Program:
    def main(self):
        return 1
