"""What the documentation site adds to the pages in `docs`: a MkDocs hook.

- The reference of each configuration file is a page made from its JSON Schema.
- CONTRIBUTING.md and SECURITY.md become pages of the site.
- A line `<!-- include: PATH -->` becomes a code block with the file at PATH.
- A link to a file outside `docs` becomes plain text, because the site has no such page. The file must exist.
- A test that a page names as `file::test` must exist.
- No line of a Markdown file of the project is longer than `WIDTH`, and links of those outside `docs` lead to files.
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
OUTSIDE = {"contributing.md": "CONTRIBUTING.md", "security/policy.md": "SECURITY.md"}
# Keys of a schema that bound a value.
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
SIZES = {"Length": "characters", "Items": "items"}
KINDS = {"object": "mapping", "array": "list", "boolean": "true or false", "integer": "whole number"}
# What a description says of the default, to its own full stop.
DEFAULT = re.compile(r"Default(?P<by_key>, \w+ by \w+)?: (?P<text>.+?)(?:(?<!\.)\.(?= [A-Z]|$)|$)")

WIDTH = 160
INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
TEST = re.compile(r"`\w+::([a-z0-9_]*_[a-z0-9_]+)`")
LINK = re.compile(r"(?<!!)\[([^]\[]*(?:\[[^]]*][^]\[]*)*)]\(([^)\s]+)\)")
OUTWARD = re.compile(r"[a-z]+:|#")
FENCE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)


def on_pre_build(config):
    faults = []
    for name, text in tracked("*.md"):
        lines = enumerate(text.splitlines(), 1)
        faults += [f"{name}:{i}: {len(line)} columns, at most {WIDTH}" for i, line in lines if len(line) > WIDTH]
        # MkDocs itself checks the links of its pages. Templates have the links of what is made from them.
        if not name.startswith("docs/") and "/templates/" not in name:
            faults += [f"{name}: {target} is not there" for target in targets(text) if not exists(name, target)]
    if faults:
        raise PluginError("\n".join(faults))


def on_files(files, config):
    for page, schema in SCHEMAS.items():
        files.append(File.generated(config, page, content=Reference(ROOT / schema).page()))
    for page, source in OUTSIDE.items():
        folder = posixpath.join("docs", posixpath.dirname(page))
        text = prose((ROOT / source).read_text(), lambda link: moved(link, folder))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    markdown = INCLUDE.sub(included, markdown)
    gone = [name for name in TEST.findall(markdown) if name not in functions()]
    if gone:
        raise PluginError(f"{page.file.src_uri} names tests that are not there: {', '.join(gone)}")
    return prose(markdown, lambda link: inside(link, page.file.src_uri))


def tracked(pattern):
    """The files that git knows and that are there: name and text."""
    listed = subprocess.run(["git", "ls-files", "-z", pattern], cwd=ROOT, check=True, capture_output=True, text=True)
    names = filter(None, listed.stdout.split("\0"))
    return [(name, (ROOT / name).read_text()) for name in names if (ROOT / name).exists()]


@cache
def functions():
    """The names of all functions in Rust."""
    return {name for _, text in tracked("*.rs") for name in re.findall(r"\bfn (\w+)", text)}


def prose(text, change):
    """`text` with `change` applied to its links, but for those in code blocks."""
    parts = FENCE.split(text)
    return "".join(part if i % 2 else LINK.sub(change, part) for i, part in enumerate(parts))


def targets(text):
    """The files that the links of a page lead to."""
    found = LINK.findall("".join(FENCE.split(text)[::2]))
    return [target.partition("#")[0] for _, target in found if not OUTWARD.match(target)]


def exists(page, target):
    return (ROOT / posixpath.dirname(page) / target).exists()


def moved(link, folder):
    """A link of a page at the root, as a page in `folder` has it."""
    text, target = link.groups()
    return link[0] if OUTWARD.match(target) else f"[{text}]({posixpath.relpath(target, folder)})"


def inside(link, page):
    """A link of `page`; one that leaves `docs` is a page of the site or becomes text."""
    text, target = link.groups()
    if OUTWARD.match(target):
        return link[0]
    folder = posixpath.dirname(page)
    path = posixpath.normpath(posixpath.join("docs", folder, target.partition("#")[0]))
    site = {source: name for name, source in OUTSIDE.items()}
    if path in site:
        return f"[{text}]({posixpath.relpath(site[path], folder or '.')})"
    if path.startswith("docs/"):
        return link[0]
    if not (ROOT / path).exists():
        raise PluginError(f"{page}: the link to {target} leads nowhere")
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
            about,
            "",
            "This page is made from the JSON Schema of the file, which `gateway schema` prints. A time is a number of",
            "seconds, or a number with a unit: `500ms`, `2s`, `10m`, `1h`. Unknown keys are errors.",
            "",
        ]
        self.section("", self.schema, None)
        return "\n".join(head + self.sections) + "\n"

    def section(self, path, mapping, inherited):
        """The section of the mapping at `path`. `inherited` is the default of keys that have none of their own."""
        rows = ["| Key | Type | Default | Range | |", "|---|---|---|---|---|"]
        below = []
        for key, value in mapping["properties"].items():
            if value.get("not") == {}:
                continue
            name = f"{path}.{key}" if path else key
            default = "required" if key in mapping.get("required", []) else self.default(name, value, inherited)
            cells = [f"`{key}`", self.type(value), default, ranges(self.bare(value)), self.about(value)]
            rows.append(f"| {' | '.join(cells)} |")
            below.append((name, value))
        if path:
            self.sections += [f"## `{path}` {{#{anchor(path)}}}", "", mapping.get("description", ""), ""]
        self.sections += [*rows, ""]
        for name, value in below:
            self.below(name, value)

    def below(self, path, value):
        """The sections of the mappings that a value may hold."""
        inside, bare = self.inside(path, value)
        if bare is not None:
            said = DEFAULT.search(value.get("description", ""))
            self.section(inside, bare, said and said["by_key"] and said["text"])

    def inside(self, path, value):
        """The mapping that a value may hold, and its path. None: it holds none."""
        bare = self.bare(value)
        if "properties" in bare:
            return path, bare
        if "items" in bare:
            return self.inside(f"{path}[]", bare["items"])
        if isinstance(bare.get("additionalProperties"), dict):
            return self.inside(f"{path}.NAME", bare["additionalProperties"])
        return path, None

    def bare(self, value):
        """A value without references, and without the possibility to leave it out."""
        while True:
            if "$ref" in value:
                value = self.schema["$defs"][value["$ref"].rpartition("/")[2]]
            elif "anyOf" in value:
                rest = [one for one in value["anyOf"] if one.get("type") != "null"]
                mappings = [one for one in rest if "properties" in self.bare(one)]
                value = (mappings or rest)[0]
            else:
                return value

    def type(self, value):
        if "$ref" in value:
            return self.type(self.schema["$defs"][value["$ref"].rpartition("/")[2]])
        if "anyOf" in value:
            kinds = [self.type(one) for one in value["anyOf"] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
        if "enum" in value or "oneOf" in value:
            words = value.get("enum") or [one["const"] for one in value["oneOf"]]
            return " or ".join(f"`{word}`" for word in words)
        if value.get("format") == "seconds":
            return "time"
        kinds = value.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
        if kinds == ["array"]:
            return f"list of {self.type(value['items'])}s"
        return " or ".join(KINDS.get(kind, kind) for kind in kinds)

    def default(self, name, value, inherited):
        if self.type(value) == "mapping" and "properties" in self.bare(value):
            return f"[see below](#{anchor(name)})"
        if value.get("default") not in (None, {}, []):
            return cell(f"`{flow(value['default'])}`")
        said = DEFAULT.search(value.get("description", ""))
        return cell(inherited or (said["text"] if said else "none"))

    def about(self, value):
        """The description of a value without its default, which has a cell of its own."""
        text = value.get("description") or self.bare(value).get("description", "")
        said = DEFAULT.search(text)
        return cell(text if not said or said["by_key"] else DEFAULT.sub("", text).strip())


def ranges(value):
    parts = [f"{word} {value[key]:,.10g}" for key, word in BOUNDS.items() if key in value]
    for key, what in SIZES.items():
        if f"min{key}" in value:
            least = value[f"min{key}"]
            parts.append("not empty" if least == 1 else f"at least {least} {what}")
        if f"max{key}" in value:
            parts.append(f"at most {value[f'max{key}']} {what}")
    return ", ".join(parts)


def anchor(path):
    return re.sub(r"[^A-Za-z_]+", "-", path).strip("-")


def flow(value):
    """A value as YAML writes it on one line."""
    match value:
        case str():
            return value
        case list():
            return f"[{', '.join(map(flow, value))}]"
        case float() if value.is_integer():
            return f"{value:.0f}"
        case _:
            return json.dumps(value)


def cell(text):
    return text.replace("|", "\\|")
