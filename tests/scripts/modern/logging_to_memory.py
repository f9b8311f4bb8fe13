import io
import logging


class ListHandler(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


def main():
    logger = logging.getLogger("memory")
    logger.propagate = False
    logger.setLevel("INFO")
    handler, stream = ListHandler(), io.StringIO()
    logger.addHandler(handler)
    logger.info("a=%s", 1)
    logger.warning("careful")
    logger.addHandler(logging.StreamHandler(stream))
    records = list(handler.records)
    try:
        int("x")
    except ValueError:
        logger.exception("no number")
    return {
        "messages": [record.getMessage() for record in records],
        "levels": [record.levelno for record in records],
        "trace": "ValueError: invalid literal for int()" in stream.getvalue(),
    }
