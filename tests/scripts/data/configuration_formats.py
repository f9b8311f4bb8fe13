import configparser
import tomllib

INI = """
[server]
root = /srv
host = localhost
port = 8080
debug = yes
path = %(root)s/data
"""

TOML = """
title = "Demo"
[owner]
born = 1979-05-27
[[servers]]
name = "a"
up = true
[[servers]]
name = "b"
up = false
"""


def main():
    parser = configparser.ConfigParser()
    parser.read_string(INI)
    server = parser["server"]
    ini = {
        "host": server["host"],
        "port": server.getint("port"),
        "debug": server.getboolean("debug"),
        "path": server["path"],
    }
    return {"ini": ini, "toml": tomllib.loads(TOML)}
