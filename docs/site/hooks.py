"""Pages of the site that are not files in docs/, and the links to them.

The pages in docs/ are plain Markdown, and their relative links work in the repository.  For the site, this hook makes
a reference page for each package from its exported names, a page for each source file that a page links to, and copies
of README, CONTRIBUTING, CHANGELOG and SECURITY; it then changes the links of every page accordingly.
"""

import ast
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "forethought"
PROJECT = {f"{name}.md": f"project/{name.lower()}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
SHAPES = re.compile(r"\]( ?)\[(?=[^\[\]]*\](?!\())")
HIDDEN = "search:\n  exclude: true"


def on_files(files, config):
    """Add the generated pages, and the source files that pages link to."""
    from mkdocs.structure.files import File  # the tests of the other functions do not need mkdocs

    for name, target in PROJECT.items():
        files.append(File.generated(config, target, content=(ROOT / name).read_text(encoding="utf-8")))
    for target, content in reference().items():
        files.append(File.generated(config, target, content=content))
    for path in sorted(_linked_files(files)):
        if path.endswith(".py"):
            code = (ROOT / path).read_text(encoding="utf-8")
            page = f"---\n{HIDDEN}\n---\n# {path}\n\n````python\n{code}````\n"
            files.append(File.generated(config, site_path(path), content=page))
        else:
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown, page, **_):
    """Change the links of a page from paths in the repository to paths in the site; remove comments.

    `[N][D]` is a shape here, never a link to a reference.
    """
    if page.file.src_uri.startswith(("reference/", "source/")):
        return markdown
    text = COMMENT.sub("", markdown)
    text = "".join(part if part.startswith("`") else SHAPES.sub(r"]\1\\[", part) for part in CODE.split(text))
    here = posixpath.dirname(page.file.src_uri)
    return LINK.sub(lambda match: _changed(match[1], page.file.src_uri, here), text)


def repository_path(src_uri):
    """Where the text of a page is in the repository."""
    copied = {target: name for name, target in PROJECT.items()}
    return copied.get(src_uri, f"docs/{src_uri}")


def site_path(path):
    """Where a file of the repository is in the site."""
    if path in PROJECT:
        return PROJECT[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"source/{path}.md" if path.endswith(".py") else f"source/{path}"


def links(src_uri, text):
    """The files of the repository that the text of a page links to."""
    folder = posixpath.dirname(repository_path(src_uri))
    targets = [one for one in LINK.findall(COMMENT.sub("", text)) if ":" not in one]
    return {posixpath.normpath(posixpath.join(folder, one)) for one in targets}


def reference():
    """A page for each package, with every name that it or `forethought` exports; and the list of them."""
    homes = _exports(PACKAGE / "__init__.py")
    top = dict(homes)
    for init in sorted(PACKAGE.rglob("__init__.py")):
        homes |= _exports(init)
    pages, rooms = {}, {}
    for name, home in homes:
        rooms.setdefault(home.split(".")[1], {})[f"{home}.{name}"] = None
    for room, names in sorted(rooms.items()):
        sentence = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")))
        entries = "\n\n".join(f"::: {name}" for name in sorted(names, key=lambda one: one.rpartition(".")[2].lower()))
        pages[f"reference/{room}.md"] = f"# forethought.{room}\n\n{sentence}\n\n{entries}\n"
    rows = "\n".join(f"- [`ft.{name}`][{home}.{name}]" for name, home in sorted(top.items()))
    pages["reference/index.md"] = f"# Reference\n\nThe names of `import forethought as ft`:\n\n{rows}\n"
    return pages


def _exports(init):
    """The pairs of name and module that a package exports: its imports under `if TYPE_CHECKING:`."""
    guarded = [node for node in ast.parse(init.read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
    lines = [line for node in guarded for line in node.body if isinstance(line, ast.ImportFrom)]
    return {(alias.name, line.module) for line in lines for alias in line.names}


def _linked_files(files):
    pages = [file for file in files if file.src_uri.endswith(".md") and not file.src_uri.startswith("reference/")]
    found = {path for file in pages for path in links(file.src_uri, file.content_string)}
    return {path for path in found if path not in PROJECT and not path.startswith("docs/")}


def _changed(target, src_uri, here):
    if ":" in target:
        return target
    folder = posixpath.dirname(repository_path(src_uri))
    return posixpath.relpath(site_path(posixpath.normpath(posixpath.join(folder, target))), here or ".")
