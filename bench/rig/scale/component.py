"""Makes components out of a built one, so that no WebAssembly tool is needed.

A component is a list of sections, and so is the core module inside it: a byte for the kind, the
length as LEB128, the content.
"""

import random

COMPONENT = b"\0asm\x0d\0\1\0"
CORE_MODULE = b"\0asm\1\0\0\0"
CUSTOM, CODE, MODULE, TYPE, FUNCTION = 0, 10, 1, 1, 3

LOCALS = 1_500
"""Of each added function: many values that live long are what makes a compiler slow."""

FUNCTION_BYTES = 150_000
"""Of each added function."""


def distinct(component, text):
    """The same strategy with other bytes: a custom section holds `text`."""
    name = b"bench"
    return component + section(CUSTOM, leb(len(name)) + name + text.encode())


def large(component, mebibytes, seed=1):
    """The same strategy, `mebibytes` large: with functions that compile slowly."""
    parts = list(sections(component, COMPONENT))
    modules = [number for number, (kind, _) in enumerate(parts) if kind == MODULE]
    largest = max(modules, key=lambda number: len(parts[number][1]))
    missing = int(mebibytes * 2**20) - len(component)
    parts[largest] = (MODULE, pad(parts[largest][1], missing, random.Random(seed)))
    return COMPONENT + b"".join(section(kind, content) for kind, content in parts)


def pad(module, missing, draw):
    """A core module with `missing` bytes of functions at its end, whose type is new too."""
    parts = dict(sections(module, CORE_MODULE))
    bodies = []
    while missing > 0:
        bodies.append(body(draw, min(missing, FUNCTION_BYTES)))
        missing -= len(bodies[-1])
    types, _ = read_leb(parts[TYPE], 0)
    added = {
        TYPE: [b"\x60\0\0"],
        FUNCTION: [leb(types)] * len(bodies),
        CODE: [leb(len(code)) + code for code in bodies],
    }
    changed = ((kind, extend(content, added.get(kind, []))) for kind, content in sections(module, CORE_MODULE))
    return CORE_MODULE + b"".join(section(kind, content) for kind, content in changed)


def body(draw, length):
    """A function of about `length` bytes: arithmetic on `LOCALS` numbers, with many jumps back."""
    code = bytearray(leb(1) + leb(LOCALS) + b"\x7e")
    code += b"\x03\x40"
    while len(code) < length - 16:
        left, right, to = (leb(draw.randrange(LOCALS)) for _ in range(3))
        operation = draw.choice((0x7C, 0x7D, 0x7E, 0x83, 0x84, 0x85))
        # local = left (operation) right
        code += b"\x20" + left + b"\x20" + right + bytes([operation]) + b"\x21" + to
        if draw.random() < 0.05:
            # Back to the start of the loop, if left = right: all locals meet there.
            code += b"\x20" + left + b"\x20" + right + b"\x51\x0d\0"
    return bytes(code + b"\x0b\x0b")


def extend(content, added):
    """A vector, which is its length and its items, with more items."""
    if not added:
        return content
    count, at = read_leb(content, 0)
    return leb(count + len(added)) + content[at:] + b"".join(added)


def sections(binary, header):
    """`(kind, content)` of each section."""
    if not binary.startswith(header):
        raise ValueError("this is not WebAssembly of that kind")
    at = len(header)
    while at < len(binary):
        kind = binary[at]
        length, at = read_leb(binary, at + 1)
        yield kind, binary[at : at + length]
        at += length


def section(kind, content):
    """The bytes of a section."""
    return bytes([kind]) + leb(len(content)) + content


def leb(number):
    """Unsigned LEB128."""
    found = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        found.append(low | (0x80 if number else 0))
        if not number:
            return bytes(found)


def read_leb(binary, at):
    """`(number, next position)` of unsigned LEB128."""
    number = shift = 0
    while True:
        byte = binary[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at
