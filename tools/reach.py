"""Which definitions of ``vaebook`` a notebook's code reaches, found by reading the code.

A notebook reaches the names that it mentions, and a definition those that it mentions in turn.
Comments, docstrings and line breaks do not count. A top-level statement that may do more than
define a name counts for everybody who imports its module. Whatever reading cannot follow, such as
``globals()`` or the source of a function, makes the whole package count: in doubt, more is
reached, never less. The package may list a folder that it is given, because nobody here can give it
the package's own: a cell that names that place, or lists a folder itself, counts as unreadable, and
the package names a place only to join a file's name to it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePath

# Called or decorating at the top of a module, these define a thing and touch nothing else.
PURE = {"ABCMeta", "Interval", "ParamSpec", "StrOptions", "TypeVar", "abstractmethod", "cache"}
PURE |= {"cached_property", "classmethod", "compile", "contextmanager", "cycler", "dataclass"}
PURE |= {"field", "frozenset", "log", "lru_cache", "no_grad", "overload", "property", "range"}
PURE |= {"runtime_checkable", "sqrt", "staticmethod", "tuple", "wraps"}

# What finds code by another way than its name, or shows its text, its docstring or its lines:
# these names alone, and these anywhere.
BUILTINS = {"globals", "locals", "eval", "exec", "__import__", "help"}
UNREADABLE = {"importlib", "import_module", "sys.modules", "runpy", "subprocess", "system"}
UNREADABLE |= {"__subclasses__", "__init_subclass__", "run_cell", "run_cell_magic", "getoutput"}
UNREADABLE |= {"run_line_magic", "linecache", "traceback", "__file__", "__path__", "__spec__"}
UNREADABLE |= {"__doc__", "__code__", "getdoc", "getsource", "getsourcelines", "getsourcefile"}
LISTINGS = {"glob", "rglob", "iterdir", "listdir", "scandir", "os.walk", "cwd", "getcwd"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Chain = tuple[str, ...]
Place = tuple[str, str]  # a module, and a name in it; without a name, its effects


class Unreadable(Exception):
    """Code whose dependencies cannot be read off it."""


def imports(nodes: Iterable[ast.AST], package: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield for each import among `nodes`: the name that it binds, to what, and all it imports.

    Parameters
    ----------
    nodes
        Of Python code.
    package
        The package that relative imports start from.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield alias.asname or first, alias.name if alias.asname else first, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = imported_module(node, package)
            for alias in node.names:
                target = f"{base}.{alias.name}"
                yield alias.asname or alias.name, target, target


def imported_module(node: ast.ImportFrom, package: str) -> str:
    """Return the module that a ``from ... import`` takes names from."""
    parents = package.split(".")[: -node.level + 1 or None] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


def chains(nodes: Iterable[ast.AST]) -> Iterator[Chain]:
    """Yield each name with the attributes taken of it: ``a.b.c`` as ``("a", "b", "c")``."""
    seen: set[ast.AST] = set()
    for node in nodes:
        attributes: list[str] = []
        while isinstance(node, ast.Attribute) and node not in seen:
            seen.add(node)
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node not in seen:
            seen.add(node)
            yield node.id, *reversed(attributes)


def check_readable(nodes: Iterable[ast.AST], unreadable: set[str]) -> None:
    """Raise `Unreadable` if the code finds or shows other code in a way that has no name."""
    for node in nodes:
        names: list[str | None] = []
        match node:
            case ast.Name(id=name) if name in BUILTINS:
                raise Unreadable
            case ast.Name(id=name) | ast.Constant(value=str(name)) | ast.FunctionDef(name=name):
                names = [name]
            case ast.Attribute(value=ast.Name(id=first), attr=name):
                names = [name, f"{first}.{name}"]
            case ast.Attribute(attr=name):
                names = [name]
            case ast.Import(names=aliases):
                names = [part for a in aliases for part in (a.name, a.name.split(".")[-1])]
            case ast.ImportFrom(module=module, names=aliases):
                names = [
                    module,
                    *(a.name for a in aliases),
                    *(f"{module}.{a.name}" for a in aliases),
                ]
        if not unreadable.isdisjoint(names):
            raise Unreadable


def check_places(nodes: list[ast.AST]) -> None:
    """Raise `Unreadable` if the code takes hold of the package's folder, not of a file in it."""
    joined = {id(node.left) for node in nodes if isinstance(node, ast.BinOp)}
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="files") | ast.Attribute(attr="files"), args=given):
                match given:
                    case [ast.Constant(value=str(name))] if name.split(".")[0] != "vaebook":
                        continue
                if id(node) not in joined:
                    raise Unreadable


def check_cells(nodes: list[ast.AST]) -> None:
    """Raise `Unreadable` if a notebook lists a folder, or has a path that may lead to our code."""
    check_readable(nodes, LISTINGS)
    strings = (n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    if any({"vaebook", ".."}.intersection(PurePath(string).parts) for string in strings):
        raise Unreadable


def run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs with a top-level statement: not what its functions do when called."""
    yield node
    if isinstance(node, Function):
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        parts: Iterable[ast.AST] = [*node.decorator_list, *defaults]
    else:
        parts = [] if isinstance(node, ast.Lambda) else ast.iter_child_nodes(node)
    for part in parts:
        yield from run_on_import(part)


def called_on_import(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield the functions that a top-level statement calls when it runs, decorators among them."""
    for node in run_on_import(statement):
        if isinstance(node, ast.Call):
            yield node.func
        elif isinstance(node, Function | ast.ClassDef):
            yield from node.decorator_list
        elif isinstance(node, ast.keyword) and node.arg == "metaclass":
            yield node.value


def named(statement: ast.stmt) -> list[str]:
    """Return the names that a plain definition or assignment binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            nodes = [node for target in targets for node in ast.walk(target)]
            if all(isinstance(node, ast.Name | ast.Tuple | ast.expr_context) for node in nodes):
                return [node.id for node in nodes if isinstance(node, ast.Name)]
    return []


def is_wrapper(statement: ast.stmt) -> bool:
    """Tell whether a function, used as a decorator, only wraps what it decorates."""
    match statement:
        case ast.FunctionDef(body=[ast.FunctionDef() as inner, ast.Return(ast.Name(id=given))]):
            called = {next(chains(ast.walk(function)))[-1] for function in called_on_import(inner)}
            return inner.name == given and called <= {"wraps"}
    return False


class Module:
    """A module of the package, its top level sorted into definitions and effects.

    Attributes
    ----------
    name
        Dotted.
    imports
        What each imported name may stand for, wherever in the module it is imported.
    imported
        All that is imported, with its dotted path.
    definitions
        The statements that define each name and do nothing else.
    effects
        The other statements, which count for everybody who imports the module.
    """

    def __init__(self, name: str, package: str, source: str) -> None:
        tree = without_docstrings(ast.parse(source, name))
        nodes = list(ast.walk(tree))
        self.name, self.package, self.tree = name, package, tree
        self.imports: dict[str, set[str]] = defaultdict(set)
        self.definitions: dict[str, list[ast.stmt]] = defaultdict(list)
        self.effects: list[ast.stmt] = []
        self.imported: set[str] = set()
        for alias, target, imported in imports(nodes, package):
            self.imports[alias].add(target)
            self.imported.add(imported)
        self._mentioned = {chain[0] for chain in chains(nodes)}
        self._wrappers = {s.name for s in tree.body if isinstance(s, Function) and is_wrapper(s)}
        self._own = {name for statement in tree.body for name in named(statement)}
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._add_import(statement, package)
            elif names := self._defined(statement):
                for defined in names:
                    self.definitions[defined].append(statement)
            else:
                self.effects.append(statement)

    def _add_import(self, statement: ast.Import | ast.ImportFrom, package: str) -> None:
        """Count the module for everybody, a name for those who mention it, if anybody does."""
        if isinstance(statement, ast.ImportFrom):
            modules = [imported_module(statement, package)]
        else:
            modules = [alias.name for alias in statement.names]
        self.effects.append(ast.Import([ast.alias(module) for module in modules]))
        for alias, target, _ in imports([statement], package):
            one = ast.Import([ast.alias(target, alias)])
            if alias in self._mentioned:
                self.definitions[alias].append(one)
            else:
                self.effects.append(one)

    def _defined(self, statement: ast.stmt) -> list[str]:
        """Return the names that a statement defines, or none if it may do more than that."""
        plain = all(map(self._is_pure, called_on_import(statement)))
        does_more = any(
            isinstance(node, ast.NamedExpr) or getattr(node, "name", "") == "__init_subclass__"
            for node in run_on_import(statement)
        )
        return named(statement) if plain and not does_more else []

    def _is_pure(self, called: ast.expr) -> bool:
        function = called.func if isinstance(called, ast.Call) else called
        first, *attributes = next(chains(ast.walk(function)), ("",))
        if first in self._wrappers and not attributes:
            return True
        ours = any(target.split(".")[0] == "vaebook" for target in self.imports.get(first, ()))
        return first not in self._own and not ours and [first, *attributes][-1] in PURE

    @cached_property
    def strings(self) -> set[str]:
        """Return all strings in the module's code, parts of f-strings among them."""
        values = (node.value for node in ast.walk(self.tree) if isinstance(node, ast.Constant))
        return {value for value in values if isinstance(value, str)}


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove the strings that stand alone as statements."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            node.body = [s for s in node.body if not _is_string(s)]
    return tree


def _is_string(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False


class Package:
    """All modules of a package, as they are now."""

    def __init__(self, folder: Path) -> None:
        self.modules: dict[str, Module] = {}
        self._known: dict[Place, tuple[set[Place], list[str]]] = {}
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder.parent).with_suffix("").parts
            package = ".".join(parts[:-1])
            name = package if parts[-1] == "__init__" else ".".join(parts)
            self.modules[name] = Module(name, package, file.read_text(encoding="utf-8"))

    def reached(self, cells: Iterable[str]) -> tuple[set[str], list[str]]:
        """Follow the names that code mentions.

        Parameters
        ----------
        cells
            Python code, in pieces.

        Returns
        -------
        modules
            The names of the modules that are imported.
        statements
            The text of each top-level statement that counts, in a form of its own.

        Raises
        ------
        Unreadable
            If reading cannot tell.
        """
        try:
            notebook = Module("", "", "\n".join(cells))
        except SyntaxError as error:  # a magic, a shell command, or an error that the run shows
            raise Unreadable from error
        check_cells(list(ast.walk(notebook.tree)))
        waiting = self._mentioned(notebook, notebook.tree.body)
        found: set[Place] = set()
        while waiting:
            found.add(node := waiting.pop())
            waiting |= self._steps(*node)[0] - found
        texts = sorted(text for node in found for text in self._steps(*node)[1])
        return {module for module, _ in found}, texts

    def may_read(self, modules: set[str], file: Path) -> bool:
        """Tell whether code in `modules` may read a file: if none names it, anybody may."""
        naming = {n for n, m in self.modules.items() if m.strings & {file.name, file.stem}}
        return not naming or not naming.isdisjoint(modules)

    def _steps(self, module: str, name: str) -> tuple[set[Place], list[str]]:
        """Return what a name's statements mention, and their text; without a name, the effects."""
        if (module, name) not in self._known:
            code = self.modules[module]
            statements = code.definitions[name] if name else code.effects
            texts = [f"{module}: {ast.dump(statement)}" for statement in statements]
            found = self._mentioned(code, statements)
            if not name:  # the modules that it imports have effects, too
                paths = (path.split(".") for path in code.imported)
                places = (place for path in paths for place in self._resolve(path, is_value=False))
                found |= {(other, name) for other, name in places if not name}
            self._known[module, name] = found, texts
        return self._known[module, name]

    def _mentioned(self, module: Module, statements: list[ast.stmt]) -> set[Place]:
        """Return what the statements mention, as pairs of a module and a name in it."""
        found: set[Place] = set()
        for statement in statements:
            nodes = list(ast.walk(statement))
            check_readable(nodes, UNREADABLE)
            check_places(nodes)
            for _, _, imported in imports(nodes, module.package):
                found.update(self._resolve(imported.split("."), is_value=False))
            for first, *attributes in chains(nodes):
                if module.name and first in module.definitions:
                    found.add((module.name, first))
                for target in module.imports.get(first, ()):
                    found.update(self._resolve([*target.split("."), *attributes]))
        return found

    def _resolve(self, path: list[str], is_value: bool = True) -> Iterator[Place]:
        """Yield what a dotted path stands for: the modules on its way, and the name in the last.

        A module that is itself a value may give away any name in it.
        """
        name = ""
        for part in path:
            inner = f"{name}.{part}".lstrip(".")
            if name and part in self.modules[name].definitions:
                yield name, part
            elif inner not in self.modules:
                if name:
                    yield from self._all_names(name)
                return
            if inner not in self.modules:
                return
            name = inner
            yield name, ""
        if is_value:
            yield from self._all_names(name)

    def _all_names(self, module: str) -> Iterator[Place]:
        for name, code in self.modules.items():
            if name == module or name.startswith(f"{module}."):
                yield from ((name, defined) for defined in ("", *code.definitions))
