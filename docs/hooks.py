"""What the documentation site adds to the pages in `docs`: a MkDocs hook.

- The reference of each configuration file is a page made from its JSON Schema.
- Pages outside `docs` (CONTRIBUTING.md) become pages of the site.
- A line `<!-- include: PATH -->` becomes a code block with the file at PATH.
- A link to a file outside `docs` becomes plain text, because the site has no such page. The file must exist.
- A test that a page names as `file::test` must exist.
- No line of a Markdown file of the project is longer than `WIDTH`.
"""

import json
import posixpath
import re
import subprocess
from functools import cache
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = {
    "configuration/models.md": "config/schema/models.schema.json",
    "configuration/routing.md": "config/schema/routing.schema.json",
}
# Pages of the site, and the files they come from.
OUTSIDE = {"contributing.md": "CONTRIBUTING.md"}
# Keys of a schema that bound a value.
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
SIZES = {"minLength": "at least {} characters", "maxLength": "at most {} characters",
         "minItems": "at least {} items", "maxItems": "at most {} items"}

WIDTH = 160
INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
TEST = re.compile(r"`\w+::([a-z0-9_]*_[a-z0-9_]+)`")
LINK = re.compile(r"(?<!!)\[([^]\[]*(?:\[[^]]*][^]\[]*)*)]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)


def on_pre_build(config):
    long = [
        f"{name}:{i}: {len(line)} columns"
        for name, text in tracked("*.md")
        for i, line in enumerate(text.splitlines(), 1)
        if len(line) > WIDTH
    ]
    if long:
        raise PluginError("\n".join([f"lines over {WIDTH} columns:", *long]))


def on_files(files, config):
    for page, schema in SCHEMAS.items():
        files.append(File.generated(config, page, content=Reference(ROOT / schema).page()))
    for page, source in OUTSIDE.items():
        text = outside_docs(FENCE, (ROOT / source).read_text(), lambda part: LINK.sub(from_root, part))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    markdown = INCLUDE.sub(included, markdown)
    gone = [name for name in TEST.findall(markdown) if name not in functions()]
    if gone:
        raise PluginError(f"{page.file.src_uri} names tests that are not there: {', '.join(gone)}")
    folder = posixpath.dirname(page.file.src_uri)
    return outside_docs(FENCE, markdown, lambda part: LINK.sub(lambda link: inside(link, folder, page), part))


@cache
def functions():
    """The names of all functions in Rust."""
    return {name for _, text in tracked("*.rs") for name in re.findall(r"\bfn (\w+)", text)}


def tracked(pattern):
    """The files that git knows and that are there: name and text."""
    listed = subprocess.run(["git", "ls-files", "-z", pattern], cwd=ROOT, check=True, capture_output=True, text=True)
    names = filter(None, listed.stdout.split("\0"))
    return [(name, (ROOT / name).read_text()) for name in names if (ROOT / name).exists()]


def outside_docs(fence, text, change):
    """Applies `change` to `text`, but for its code blocks."""
    parts = fence.split(text)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def from_root(link):
    """A link of a page at the root, as a page of the site has it."""
    text, target = link.groups()
    if re.match(r"[a-z]+:|#", target):
        return link[0]
    return f"[{text}]({posixpath.relpath(target, 'docs')})"


def inside(link, folder, page):
    """A link that leaves `docs` as its text."""
    text, target = link.groups()
    if re.match(r"[a-z]+:|#", target):
        return link[0]
    path = posixpath.normpath(posixpath.join("docs", folder, target.partition("#")[0]))
    site = {source: name for name, source in OUTSIDE.items()}
    if path in site:
        return f"[{text}]({posixpath.relpath(site[path], folder or '.')})"
    if path.startswith("docs/"):
        return link[0]
    if not (ROOT / path).exists():
        raise PluginError(f"{page.file.src_uri}: the link to {target} leads nowhere")
    return text if text.startswith("`") else f"{text} (`{path}`)"


def included(line):
    path = ROOT / line[1]
    if not path.is_file():
        raise PluginError(f"there is no file {line[1]} to include")
    language = {".yaml": "yaml"}.get(path.suffix, "text")
    return f'```{language} title="{line[1]}"\n{path.read_text().rstrip()}\n```'


class Reference:
    """The reference of one file: a section for each mapping, a row for each key."""

    def __init__(self, path):
        self.schema = json.loads(path.read_text())
        self.sections = []

    def page(self):
        title, about = self.schema["title"], self.schema["description"]
        head = [
            f"# Reference of {title}",
            "",
            f"{about} This page is made from the JSON Schema of the file, which `gateway schema` prints.",
            "Times are in seconds and may have fractions. Unknown keys are errors.",
            "",
        ]
        self.section("", self.schema)
        return "\n".join(head + self.sections) + "\n"

    def section(self, path, mapping):
        name = f"`{path}`" if path else "Top level"
        rows = ["| Key | Type | Default | Range | |", "|---|---|---|---|---|"]
        required = mapping.get("required", [])
        below = []
        for key, value in mapping["properties"].items():
            if value.get("not") == {}:
                continue
            bare = self.resolved(value)
            default = "required" if key in required else self.default(value)
            about = value.get("description") or bare.get("description", "")
            rows.append(f"| `{key}` | {self.type(value)} | {default} | {self.range(bare)} | {cell(about)} |")
            below.append((f"{path}.{key}" if path else key, value))
        about = mapping.get("description", "")
        self.sections += [f"## {name}", "", *([about, ""] if path else []), *rows, ""]
        for name, value in below:
            self.below(name, value)

    def below(self, path, value):
        """The sections of the mappings that a value may hold."""
        bare = self.resolved(value)
        if "properties" in bare:
            self.section(path, bare)
        elif bare.get("type") == "array" or "items" in bare:
            self.below(f"{path}[]", bare["items"])
        elif isinstance(bare.get("additionalProperties"), dict):
            self.below(f"{path}.NAME", bare["additionalProperties"])

    def resolved(self, value):
        """A value without references, and without the possibility to leave it out."""
        while True:
            if "$ref" in value:
                value = self.schema["$defs"][value["$ref"].rpartition("/")[2]]
            elif "anyOf" in value:
                rest = [one for one in value["anyOf"] if one.get("type") != "null"]
                mappings = [one for one in rest if "properties" in self.resolved(one)]
                value = (mappings or rest)[0]
            else:
                return value

    def type(self, value):
        if "$ref" in value:
            return self.type(self.resolved_reference(value))
        if "anyOf" in value:
            kinds = [self.type(one) for one in value["anyOf"] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
        if "enum" in value or "oneOf" in value:
            words = value.get("enum") or [one["const"] for one in value["oneOf"]]
            return " or ".join(f"`{word}`" for word in words)
        kinds = value.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
        names = {"object": "mapping", "array": "list", "boolean": "true or false", "integer": "whole number"}
        if kinds == ["array"]:
            return f"list of {self.type(value['items'])}s".replace("mappings", "mappings")
        return " or ".join(names.get(kind, kind) for kind in kinds)

    def resolved_reference(self, value):
        return self.schema["$defs"][value["$ref"].rpartition("/")[2]]

    def default(self, value):
        if value.get("default") is not None and value["default"] != {}:
            return cell(f"`{flow(value['default'])}`")
        said = re.search(r"Default: ([^.]+(?:\.[^ .][^.]*)*)\.", value.get("description", ""))
        return cell(said[1]) if said else "none"

    def range(self, value):
        parts = [f"{word} {number(value[key])}" for key, word in BOUNDS.items() if key in value]
        parts += [words.format(value[key]) for key, words in SIZES.items() if key in value]
        return ", ".join(parts)


def flow(value):
    """A value as YAML writes it on one line."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return number(value)
        case str():
            return value
        case list():
            return f"[{', '.join(map(flow, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {flow(one)}' for key, one in value.items())}}}"


def number(value):
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def cell(text):
    return text.replace("|", "\\|")
