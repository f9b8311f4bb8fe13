import io
import unittest


class Arithmetic(unittest.TestCase):
    def setUp(self):
        self.numbers = [1, 2, 3]

    def test_sum(self):
        self.assertEqual(sum(self.numbers), 6)

    def test_raises(self):
        with self.assertRaisesRegex(ZeroDivisionError, "division"):
            1 // 0

    def test_wrong(self):
        self.assertEqual(max(self.numbers), 4)


def main():
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Arithmetic)
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    return {
        "run": result.testsRun,
        "failures": [test.id().rsplit(".", 1)[1] for test, _ in result.failures],
        "errors": [str(test) for test, _ in result.errors],
        "successful": result.wasSuccessful(),
    }
