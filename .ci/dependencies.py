"""Checks the output of `cargo metadata` on standard input against deny.toml."""

import json
import re
import sys
import tomllib
from pathlib import Path

TOKEN = re.compile(r"\(|\)|/|[A-Za-z0-9.+-]+")


def is_allowed(expression, allowed):
    """Whether an SPDX expression can be met by allowed licences alone. `/` is an old spelling of OR."""
    tokens = TOKEN.findall(expression)

    def either():
        met = both()
        while tokens and tokens[0] in ("OR", "/"):
            tokens.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        name = tokens.pop(0)
        if name == "(":
            met = either()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            name = f"{name} WITH {tokens[1]}"
            del tokens[:2]
        return name in allowed

    return either()


def faults(packages, rules):
    allowed = set(rules["licenses"]["allow"])
    registries = {f"registry+{url}" for url in rules["sources"]["allow-registry"]}
    banned = {ban["crate"]: ban["reason"] for ban in rules["bans"]["deny"]}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            yield f"{name} is banned: {banned[package['name']]}"
        if package["source"] is None:
            # A crate of the workspace: its own dependencies are what must not be wildcards.
            wild = [one["name"] for one in package["dependencies"] if one["req"] == "*" and "path" not in one]
            yield from (f"{name} takes any version of {one}" for one in wild)
            continue
        if package["source"] not in registries:
            yield f"{name} is from {package['source']}, which is not allowed"
        if not package["license"]:
            yield f"{name} names no licence"
        elif not is_allowed(package["license"], allowed):
            yield f"{name} has the licence {package['license']}, which is not allowed"


def main():
    rules = tomllib.loads(Path("deny.toml").read_text())
    packages = json.load(sys.stdin)["packages"]
    found = list(faults(packages, rules))
    print("\n".join(found) or f"{len(packages)} packages have allowed licences and sources")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
