import array
from collections import ChainMap, OrderedDict, UserDict, UserList, UserString, deque
from types import MappingProxyType, SimpleNamespace


def main():
    stock = {"apple": 3, "beet": 0}
    return {
        "range": range(2, 10, 3),
        "deque": deque([1, 2, 3], maxlen=2),
        "keys": stock.keys(),
        "values": stock.values(),
        "items": stock.items(),
        "ordered": OrderedDict(z=1, a=2).keys(),
        "array": array.array("d", [1.0, 2.5]),
        "user": [UserDict(stock), UserList([1]), UserString("text")],
        "namespace": SimpleNamespace(a=1, inner=SimpleNamespace(b=range(2))),
        "proxy": MappingProxyType(stock),
        "chain": ChainMap({"apple": 9}, stock),
    }
