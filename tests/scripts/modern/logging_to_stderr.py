import logging

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logger = logging.getLogger("app")


def main():
    logger.debug("not shown")
    logger.info("started with %d items", 3)
    logging.getLogger("app.db").warning("slow query (%d ms)", 120)
    try:
        1 / 0
    except ZeroDivisionError as error:
        logger.error("failed: %s", error)
    return {"handled": 3, "level": logging.getLevelName(logger.getEffectiveLevel())}
