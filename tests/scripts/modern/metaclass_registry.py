class Reader:
    registry = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        Reader.registry[cls.__name__] = cls


class CsvReader(Reader): ...


class JsonReader(Reader): ...


class NonNegative:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return instance.__dict__[self.name]

    def __set__(self, instance, value):
        if value < 0:
            raise ValueError(f"{self.name} must be >= 0")
        instance.__dict__[self.name] = value


class Person:
    age = NonNegative()

    def __getattr__(self, name):
        return f"field_{name}"


class Singleton(type):
    instances = {}

    def __call__(cls, *args):
        if cls not in cls.instances:
            cls.instances[cls] = super().__call__(*args)
        return cls.instances[cls]


class Settings(metaclass=Singleton): ...


def main():
    person = Person()
    person.age = 3
    try:
        person.age = -1
    except ValueError as error:
        validated = str(error)
    return {
        "plugins": sorted(Reader.registry),
        "validated": validated,
        "dynamic": person.colour,
        "singleton": Settings() is Settings(),
    }
