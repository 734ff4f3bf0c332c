"""Statements of a native function, and its text."""

import ast
from collections.abc import Sequence

from ..language import is_wide
from .calls import Calls
from .source import annotation
from .types import Null, Value, is_pointer, local

# Instructions of a function that is not to be put into its callers, unless it asks for it: the optimiser would do so
# wherever there is only one of them, and takes twice as long over what grows so.
LONGEST_INLINED = 40


class Function(Calls):
    """A function whose statements are written one after the other."""

    def text(self) -> str:
        function, signature = self.function, self.signature
        parameters = []
        for name, kind in signature.parameters.items():
            restricted = is_pointer(kind) and (
                function.noalias if isinstance(function.noalias, bool) else name in function.noalias
            )
            parameters.append(f'{self.parameter(kind)}{" noalias" if restricted else ""} %"p.{name}"')
            self.declare_local(name, kind, f'%"p.{name}"')
        self.statements(self.node.body)
        if self.open:
            if signature.result is not type(None):
                self.fail(self.node, "not every path ends with a return")
            self.body.append("  ret void")
        linkage = "" if function in self.module.entries and not self.is_wide else "internal "
        result = "zeroext i1" if signature.result is bool else self.llvm(signature.result)
        attributes = 1 if function.inline else 2 if len(self.body) > LONGEST_INLINED else 0
        head = f"define {linkage}{result} {signature.symbol}({', '.join(parameters)}) #{attributes} {{"
        return "\n".join([head, "entry:", *self.entry, "  br label %start", "start:", *self.body, "}", ""])

    def statements(self, nodes: Sequence[ast.stmt]) -> None:
        for node in nodes:
            if not self.open:  # after return, break or continue: checked, but unreachable
                self.body.append(f"{self.label('dead')}:")
                depth = len(self.body)
                self.open = True
                self.statement(node)
                del self.body[depth - 1 :]
                self.open = False
                continue
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        method = getattr(self, "statement_" + type(node).__name__, None)
        if method is None:
            self.fail(node, f"{type(node).__name__} is not supported: {ast.unparse(node).splitlines()[0]}")
        method(node)

    def statement_Pass(self, node: ast.Pass) -> None:
        pass

    def statement_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        if not isinstance(node.value, ast.Call):
            self.fail(node, f"a statement without effect: {ast.unparse(node)}")
        self.call(node.value)

    def statement_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) > 1 or isinstance(node.targets[0], ast.Tuple | ast.List):
            self.fail(node, "one target for each assignment")
        self.assign(node.targets[0], self.expression(node.value))

    def statement_AnnAssign(self, node: ast.AnnAssign) -> None:
        kind = annotation(node.annotation, self.names)
        if kind not in (int, float, bool) and not is_pointer(kind):
            self.fail(node, f"{ast.unparse(node.annotation)} is no type of a local")
        if not isinstance(node.target, ast.Name):
            self.fail(node, "only a local can be annotated")
        if node.target.id in self.locals and self.locals[node.target.id] is not kind:
            self.fail(node, f"{node.target.id} already is {self.locals[node.target.id].__name__}")
        if node.target.id not in self.locals:
            self.declare_local(node.target.id, kind)
        if node.value is not None:
            self.assign(node.target, self.expression(node.value))

    def statement_AugAssign(self, node: ast.AugAssign) -> None:
        pointer, kind = self.place(node.target)
        tag = "" if isinstance(node.target, ast.Name) else self.access(kind)
        old = self.value(f"load {self.llvm(kind)}, ptr {pointer}{tag}", kind)
        if isinstance(node.op, ast.Add | ast.Sub):
            new = self.sum(node, node.op, old, self.term(node.value))
        else:
            new = self.binary(node, node.op, old, self.expression(node.value), node.value)
        self.body.append(f"  store {self.llvm(kind)} {self.convert(node, new, kind)}, ptr {pointer}{tag}")

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name) and target.id not in self.locals:
            if value.type is Null or value.type is type(None):
                self.fail(target, f"{target.id}: a value without a type; annotate the local")
            self.declare_local(target.id, value.type)
        pointer, kind = self.place(target)
        tag = "" if isinstance(target, ast.Name) else self.access(kind)
        self.body.append(f"  store {self.llvm(kind)} {self.convert(target, value, kind)}, ptr {pointer}{tag}")

    def statement_Return(self, node: ast.Return) -> None:
        result = self.signature.result
        if node.value is None or result is type(None):
            if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
                self.fail(node, "a function without a result type returns nothing")
            if result is not type(None):
                self.fail(node, f"a {result.__name__} must be returned")
            self.body.append("  ret void")
        else:
            value = self.convert(node, self.expression(node.value), result)
            self.body.append(f"  ret {self.llvm(result)} {value}")
        self.open = False

    def statement_If(self, node: ast.If) -> None:
        known = self.known(node.test)
        if known is not None:
            self.statements(node.body if known else node.orelse)
            return
        then, other, end = self.label("then"), self.label("else"), self.label("endif")
        self.condition(node.test, then, other if node.orelse else end)
        self.begin(then)
        self.statements(node.body)
        self.jump(end)
        if node.orelse:
            self.begin(other)
            self.statements(node.orelse)
            self.jump(end)
        self.begin(end)

    def known(self, test: ast.expr) -> bool | None:
        """What is known of a condition on `is_wide()` when the text is translated; None where that is nothing."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return False if any(self.known(each) is False for each in test.values) else None
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.known(test.operand)
            return None if inner is None else not inner
        if isinstance(test, ast.Call) and self.static(test.func) is is_wide:
            return self.is_wide
        return None

    def statement_While(self, node: ast.While) -> None:
        if node.orelse:
            self.fail(node, "a loop has no else")
        test, body, end = self.label("while"), self.label("body"), self.label("endwhile")
        self.begin(test)
        if isinstance(node.test, ast.Constant) and node.test.value:
            self.jump(body)
        else:
            self.condition(node.test, body, end)
        self.begin(body)
        self.loop_body(node.body, test, end)
        self.jump(test)
        self.begin(end)

    def statement_For(self, node: ast.For) -> None:
        call = node.iter
        if node.orelse:
            self.fail(node, "a loop has no else")
        if not isinstance(call, ast.Call) or self.static(call.func) is not range or call.keywords:
            self.fail(node, "a for loop runs over range(...)")
        if not 1 <= len(call.args) <= 3:
            self.fail(node, "a for loop runs over range(...)")
        if not isinstance(node.target, ast.Name):
            self.fail(node, "a for loop has one variable")
        bounds = [Value(self.convert(each, self.expression(each), int), int) for each in call.args[:2]]
        start, stop = (bounds[0].text, bounds[1].text) if len(bounds) == 2 else ("0", bounds[0].text)
        step = 1
        if len(call.args) == 3:
            step = self.constant_integer(call.args[2])
            if not step:
                self.fail(node, "the step of a range is a constant that is not zero")
        if node.target.id not in self.locals:
            self.declare_local(node.target.id, int)
        if self.locals[node.target.id] is not int:
            self.fail(node, f"{node.target.id} already is {self.locals[node.target.id].__name__}")
        count = f"%c{self.label('')}"
        self.entry.append(f"  {count} = alloca i64")
        self.body.append(f"  store i64 {start}, ptr {count}")
        test, body, again, end = (self.label(stem) for stem in ("for", "body", "again", "endfor"))
        self.begin(test)
        now = self.emit(f"load i64, ptr {count}")
        self.branch(self.emit(f"icmp {'slt' if step > 0 else 'sgt'} i64 {now}, {stop}"), body, end)
        self.begin(body)
        self.body.append(f"  store i64 {now}, ptr {local(node.target.id)}")
        self.loop_body(node.body, again, end)
        self.begin(again)
        if self.open:
            following = self.emit(f"add nsw i64 {self.emit(f'load i64, ptr {count}')}, {step}")
            self.body.append(f"  store i64 {following}, ptr {count}")
            self.jump(test)
        self.begin(end)

    def loop_body(self, nodes: Sequence[ast.stmt], again: str, end: str) -> None:
        self.loops.append((again, end))
        self.statements(nodes)
        self.loops.pop()

    def statement_Break(self, node: ast.Break) -> None:
        self.jump(self.loops[-1][1])

    def statement_Continue(self, node: ast.Continue) -> None:
        self.jump(self.loops[-1][0])
