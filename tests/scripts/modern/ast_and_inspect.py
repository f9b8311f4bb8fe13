import ast
import inspect


def sample(a, /, b: int = 1, *args, c, **kw) -> str: ...


def main():
    tree = ast.parse("x + y*2", mode="eval")
    scope = {}
    exec("def square(n):\n    return n * n", scope)
    return {
        "names": sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}),
        "unparsed": ast.unparse(tree),
        "signature": str(inspect.signature(sample)),
        "literal": ast.literal_eval("{'a': [1, 2]}"),
        "evaluated": eval(compile(tree, "<expression>", "eval"), {"x": 1, "y": 5}),
        "made": scope["square"](5),
    }
