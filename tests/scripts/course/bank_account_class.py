class InsufficientFunds(Exception):
    def __init__(self, owner, balance, amount):
        super().__init__(f"{owner} has {balance}, needs {amount}")


class Account:
    def __init__(self, owner):
        self.owner = owner
        self._balance = 0
        self.history = []

    @classmethod
    def opened_with(cls, owner, amount):
        account = cls(owner)
        account.deposit(amount)
        return account

    @property
    def balance(self):
        return self._balance

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self._balance += amount
        self.history.append(("deposit", amount))

    def withdraw(self, amount):
        if amount > self._balance:
            raise InsufficientFunds(self.owner, self._balance, amount)
        self._balance -= amount
        self.history.append(("withdraw", amount))


def main():
    account = Account.opened_with("Ada", 150)
    account.withdraw(30)
    refused = None
    try:
        account.withdraw(500)
    except InsufficientFunds as error:
        refused = str(error)
    return {"owner": account.owner, "balance": account.balance, "history": account.history, "refused": refused}
