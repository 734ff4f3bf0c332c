"""The restricted language: native results against those of the same text run by Python, errors, and the cache."""

import ctypes
import functools
import linecache
import math
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uqbench.native import library
from uqbench.native.language import (
    WIDTH,
    Indices,
    Kernel,
    LanguageError,
    NativeFunction,
    Record,
    Table,
    Vector,
    address,
    allocate,
    allocate_indices,
    allocate_record,
    as_indices,
    as_record,
    as_vector,
    atomic_add,
    call_address,
    copy,
    exponent,
    fill,
    is_null,
    is_wide,
    native,
    power_of_two,
    record_fields,
    release,
    significand,
    wide,
    yield_thread,
)
from uqbench.native.library import compile_library, compile_module, pack
from uqbench.native.translation import translate

C_TYPES = {
    int: ctypes.c_int64,
    float: ctypes.c_double,
    bool: ctypes.c_bool,
    type(None): None,
}
FACTOR = 3
WEIGHTS = (0.5, 1.0, -2.0)
PLACES = (4, 5, 6)
MATRIX = ((1.0, 2.0, 0.0), (3.0, 4.0, 5.0))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "uqbench" / "native"


def compiled(function):
    """A native function as a Python callable that takes numbers and NumPy arrays."""
    built = compile_library([function], "test")
    hints = dict(function.python.__annotations__)
    result = C_TYPES.get(hints.pop("return", type(None)), ctypes.c_void_p)
    kinds = [C_TYPES.get(kind, ctypes.c_void_p) for kind in hints.values()]
    call = ctypes.CFUNCTYPE(result, *kinds)(built.address(function.__name__))

    def run(*arguments):
        return call(*(each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments))

    return run


@native
def arithmetic(a: float, b: float, k: int) -> float:
    c = a * b - a / b + k
    c += 2
    c -= a
    c *= -b
    c /= 7.0
    return c + b**2 + b**3 + abs(a) ** 0.5 + k / 2 + max(a, b, k) - min(a, 1)


@native
def integers(a: int, b: int) -> int:
    c = a // b + a % b - (a & 12) + (b | 1) + (a ^ b) + (b << 2) + (a >> 1) + ~a
    c += FACTOR * a**2
    return abs(-c) + int(2.75 * a) + len(WEIGHTS) + int(a > b) + max(a, b) - PLACES[a % 3]


@native
def float_division(a: float, b: float) -> float:
    return 10.0 * (a // b) + a % b


@native
def functions(a: float) -> float:
    b = abs(a) + 0.1
    s = math.sqrt(b) + math.exp(-b) + math.log(b) + math.sin(a) + math.cos(a) + math.floor(a) + math.ceil(a)
    s += math.copysign(2.0, a) + math.nextafter(a, 1e300) + pow(b, 1.3) + math.tanh(a) + math.expm1(-b) + math.log1p(b)
    return s + math.pi + float("1e-3")


@native
def branches(n: int, x: float) -> int:
    total = 0
    k = 0
    while True:
        k += 1
        if k > n:
            break
        if (k % 3 == 0 and not (k == 9 and n > 3)) or 20 < k <= 25:
            continue
        elif k % 5 == 0 or x < 0.0:
            total += 10
        else:
            total += 1 if x > k else 2
    flag = x != x or 0.0 <= x < 10.0 < n
    return total + 1000 if flag else total


@native
def loops(start: int, stop: int) -> int:
    total = 0
    k = -1
    for k in range(start, stop, 2):
        if k == 11:
            break
        for j in range(k, start, -3):
            if j == 4:
                continue
            total += j * k
    for i in range(stop):
        total = 3 * total % 1009 + i if total >= 0 else 0
        stop = 0
    return total * 100 + k


@native
def tables(i: int, j: int) -> float:
    row = MATRIX[i]
    return MATRIX[i][j] + WEIGHTS[j] * row[2] + MATRIX[1][2] + WEIGHTS[0]


@native
def factorial(n: int) -> float:
    return 1.0 if n < 2 else n * factorial(n - 1)


@native(inline=True)
def square(x: float) -> float:
    return x * x


@native
def calls(x: float) -> float:
    return square(x) + square(2) + factorial(5)


def python(function):
    """The same function run by Python, its calls to other native functions as well."""
    names = {}
    for name, each in {**globals(), function.__name__: function}.items():
        code = each.python.__code__ if isinstance(each, NativeFunction) else None
        names[name] = each if code is None else types.FunctionType(code, names)
    return names[function.__name__]


moderate = st.floats(-100, 100, allow_subnormal=False)
positive = st.integers(1, 50)
CASES = [
    (arithmetic, st.tuples(moderate, moderate.filter(lambda b: abs(b) > 1e-3), positive)),
    (integers, st.tuples(positive, positive)),
    (float_division, st.tuples(moderate, moderate.filter(lambda b: abs(b) > 1e-3))),
    (functions, st.tuples(moderate)),
    (branches, st.tuples(st.integers(0, 40), st.floats(-5, 30) | st.just(math.nan))),
    (loops, st.tuples(st.integers(-5, 5), st.integers(-5, 20))),
    (tables, st.tuples(st.integers(0, 1), st.integers(0, 2))),
    (factorial, st.tuples(st.integers(0, 12))),
    (calls, st.tuples(moderate)),
]


@pytest.mark.parametrize(("function", "arguments"), CASES, ids=[case[0].__name__ for case in CASES])
def test_native_agrees_with_python(function, arguments):
    fast, slow = compiled(function), python(function)

    @given(arguments)
    def agree(values):
        assert fast(*values) == pytest.approx(slow(*values), rel=1e-12, abs=1e-10, nan_ok=True)

    agree()


@given(st.floats(), st.floats())
def test_min_and_max_follow_python_for_every_float(a, b):
    np.testing.assert_array_equal(extremes_compiled(a, b), float(min(a, b) == max(a, b)))


@native
def extremes(a: float, b: float) -> float:
    return float(min(a, b) == max(a, b))


def extremes_compiled(a, b, made=[]):  # noqa: B006  compiled once, not for each example
    if not made:
        made.append(compiled(extremes))
    return made[0](a, b)


@native
def parts(x: Vector, out: Vector, n: int) -> None:
    for k in range(n):
        e = exponent(x[k])
        out[3 * k] = e
        out[3 * k + 1] = significand(x[k])
        out[3 * k + 2] = power_of_two(e)


@native
def wide_parts(x: Vector, out: Vector, n: int) -> None:
    wide(parts)(x, out, n)


def test_parts_of_floats():
    x = np.array([1.0, 1.5, 2.0, 3.0, 0.75, 2.0**-1022, 1e300, np.nextafter(2.0, 0.0)])
    out, wide_out = np.zeros((len(x), 3)), np.zeros((3, WIDTH))
    compiled(parts)(x, out, len(x))
    e = np.frexp(x)[1] - 1.0
    np.testing.assert_array_equal(out.T, [e, x / 2.0**e, 2.0**e])
    compiled(wide_parts)(np.resize(x, WIDTH), wide_out, 1)
    np.testing.assert_array_equal(wide_out, np.resize(out, (WIDTH, 3)).T)


@native
def numbers(x: Vector, n: int) -> int:
    count = 0
    for k in range(n):
        if math.isfinite(x[k]) and not math.isnan(x[k]):
            count += 1
    return count


def test_not_a_number_and_infinity_are_noticed():
    assert compiled(numbers)(np.array([1.0, np.nan, np.inf, -np.inf, 1e308]), 5) == 2


@native
def prefix_sums(x: Vector, places: Indices, out: Vector, n: int) -> None:
    work = allocate(n)
    copy(work, x, n)
    tail = work[1:]
    for k in range(n - 1):
        tail[k] += work[k]
    order = allocate_indices(n)
    fill(order, 1, n)
    order[n - 1] = places[0]
    out[order[n - 1]] = work[n - 1]
    fill(out[2:], 7, 2)
    out[4] = 1.0 if is_null(work) or work is None else 0.0
    release(work)
    release(order)


def test_arrays():
    out = np.zeros(5)
    compiled(prefix_sums)(np.arange(6.0), np.array([1]), out, 6)
    np.testing.assert_array_equal(out, [0.0, 15.0, 7.0, 7.0, 0.0])


class Inner(Record):
    values: Vector
    count: int


class Outer(Record):
    scale: float
    inner: Inner
    places: Indices
    kernel: Kernel


class Extended(Outer):
    more: float


@native
def negate(x: Vector, out: Vector, scratch: Vector) -> None:
    out[0] = -x[0]


@native
def use_records(outer: Outer, out: Vector) -> float:
    inner = outer.inner
    total = 0.0
    for k in range(inner.count):
        total += outer.inner.values[k] * outer.scale
        outer.places[k] += k
    outer.scale = total
    inner.count -= 1
    if not is_null(outer.kernel):
        outer.kernel(inner.values[1:], out, None)
    made = allocate_record(Extended)
    made.more = total
    made.inner = inner
    again = as_record(Extended, as_vector(address(made)))
    result = again.more + again.inner.count
    release(made)
    return result


def test_records():
    built = compile_library([negate], "kernel")
    places, out = np.array([5, 5, 5]), np.zeros(1)
    inner = pack(Inner, values=np.array([1.0, 2.0, 4.0]), count=3)
    outer = pack(Outer, scale=0.5, inner=inner, places=places, kernel=built.address("negate"))
    assert compiled(use_records)(outer.address, out) == 3.5 + 2
    assert (outer.words[:1].view(float)[0], inner.words[1], out[0]) == (3.5, 2, -2.0)
    assert list(places) == [5, 6, 7]
    assert list(record_fields(Extended)) == ["scale", "inner", "places", "kernel", "more"]


def test_pack_names_wrong_fields_and_arrays():
    with pytest.raises(TypeError, match="count, size are missing or unknown"):
        pack(Inner, values=None, size=3)
    with pytest.raises(TypeError, match=r"Inner\.values takes a contiguous array for Vector"):
        pack(Inner, values=np.arange(3), count=3)


@native
def twice(x: Vector) -> int:
    return int(2.0 * x[0])


@native
def through_addresses(x: Vector, counter: Indices) -> int:
    yield_thread()
    before = atomic_add(counter, 1, 5)
    return before * 100 + call_address(address(twice), x) + as_indices(address(counter))[1]


def test_addresses_and_atomic_addition():
    counter = np.array([0, 3])
    assert compiled(through_addresses)(np.array([4.5]), counter) == 300 + 9 + 8
    assert counter[1] == 8


def test_a_local_is_zero_until_it_is_assigned():
    @native
    def sometimes(n: int) -> float:
        value: float
        if n > 0:
            value = n
        return value

    assert [compiled(sometimes)(n) for n in (0, 3)] == [0.0, 3.0]


def test_closures_give_constants_and_functions():
    offset = 2.5

    @native
    def shifted(x: float) -> float:
        return square(x) + offset

    assert compiled(shifted)(2.0) == 6.5


def wrong_statement(x: Vector) -> None:
    with x:
        pass


def wrong_type(n: int) -> int:
    total = 0
    total += 0.5 * n
    return total


def wrong_name(x: float) -> float:
    return x + unknown  # noqa: F821


def wrong_return(n: int) -> int:
    if n > 0:
        return 1


def wrong_field(inner: Inner) -> int:
    return inner.length


def wrong_call(x: float) -> float:
    return print(x)


def wrong_arguments(x: float) -> float:
    return square(x, x)


def wrong_subscript(x: Vector) -> float:
    return x[-1]


def wrong_subscript_type(x: Vector) -> float:
    return x[1.0]


def wrong_condition(x: float) -> float:
    return 1.0 if x else 0.0


def wrong_annotation(x: list) -> None:
    pass


def wrong_loop(x: Vector) -> float:
    total = 0.0
    for each in x:
        total += each
    return total


def wrong_after_return(x: float) -> float:
    return x
    return [x]


ERRORS = [
    (wrong_statement, 1, "With is not supported"),
    (wrong_type, 2, "int is needed in total .= 0.5 . n, not float; write 0.0"),
    (wrong_name, 1, "unknown is not defined"),
    (wrong_return, 0, "not every path ends with a return"),
    (wrong_field, 1, "Inner has no field length; it has values, count"),
    (wrong_call, 1, "print is not part of the native language"),
    (wrong_arguments, 1, "square takes 1 arguments, given are 2"),
    (wrong_subscript, 1, "a negative subscript"),
    (wrong_subscript_type, 1, "int is needed in x.1.0., not float"),
    (wrong_condition, 1, "a condition is a comparison or an integer, not float"),
    (wrong_annotation, 0, "list is no type of a native parameter"),
    (wrong_loop, 2, "a for loop runs over range"),
    (wrong_after_return, 2, "List is not supported"),
]


@pytest.mark.parametrize(("function", "line", "message"), ERRORS, ids=[case[0].__name__ for case in ERRORS])
def test_an_error_tells_file_line_and_reason(function, line, message):
    with pytest.raises(LanguageError, match=message) as raised:
        translate([native(function)])
    assert raised.value.filename == __file__
    assert raised.value.lineno == function.__code__.co_firstlineno + line


def test_native_functions_are_not_run_by_python_and_entries_have_different_names():
    with pytest.raises(TypeError, match="square is a native function"):
        square(2.0)
    with pytest.raises(ValueError, match="different names"):
        translate([square, native(square.python)])
    with pytest.raises(LanguageError, match="noalias names y"):
        translate([native(noalias=["y"])(square.python)])


def test_object_code_is_read_from_the_cache(cache, monkeypatch):
    assert compiled(square)(3.0) == 9.0
    (file,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(library, "_optimised", None)  # calling it would fail
        assert compiled(square)(4.0) == 16.0
    for damaged in (b"", file.read_bytes()[:-1], b"x" * 100):
        file.write_bytes(damaged)
        assert compiled(square)(5.0) == 25.0
        assert len(file.read_bytes()) > 100
    assert list(cache.iterdir()) == [file]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled(square)(3.0) == 9.0


def test_an_unknown_entry_is_named():
    with pytest.raises(KeyError, match="no entry 'cube'; it has square"):
        compile_library([square], "test").address("cube")


@pytest.mark.parametrize("speed", [0, 1, 2, 3])
def test_text_is_compiled_at_every_speed(speed):
    engine = compile_module("define i64 @next(i64 %k) {\n  %r = add i64 %k, 1\n  ret i64 %r\n}", speed)
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(engine.get_function_address("next"))(41) == 42


@native
def weighted(row: Table, x: Vector, n: int) -> float:
    total = 0.0
    for k in range(n):
        total += row[k] * x[k]
    return total


@native
def choices(a: float, b: float, n: int) -> float:
    larger = a if a > b and not b > 2.0 else b
    flag = 1.0 if n > 2 else 0.0
    return larger + (0.0 if math.isfinite(a / b) or math.isnan(a) else flag)


@native
def mixture(x: Vector, out: Vector, n: int) -> None:
    """Of `x (3,)` twelve numbers `out`."""
    y = x[1:]
    copy(out, x, 3)
    fill(out[3:], 0.25 * x[0], 2)
    out[5] = weighted(MATRIX[1], x, n) - x[0] * y[0]
    out[6] = max(x[0], y[0], 0.5) - min(abs(x[2]), 3)
    out[7] = math.sqrt(abs(x[0])) + math.exp(-y[0]) * math.floor(3.0 * x[2])
    out[8] = pow(abs(x[0]), 0.3) / x[2] ** 3 - math.copysign(2.0, y[0]) % 1.5
    out[9] = choices(x[0], y[0], n)
    out[10] = x[0] * x[1] - x[1] * x[2] + float(n) / 3
    out[10] -= x[0] * x[2]
    if is_wide():
        out[11] = WIDTH
    else:
        out[11] = 1.0


@native
def one_after_the_other(x: Vector, out: Vector, n: int) -> None:
    mixture(x, out, n)


@native
def side_by_side(x: Vector, out: Vector, n: int) -> None:
    wide(mixture)(x, out, n)


@given(
    st.lists(st.floats(-4, 4, allow_subnormal=False) | st.just(0.0) | st.just(math.nan), min_size=24, max_size=24),
)
def test_wide_functions_give_the_bits_of_the_others(numbers_):
    x = np.array(numbers_).reshape(3, WIDTH)
    out = np.zeros((12, WIDTH))
    functions()["side_by_side"](x, out, 3)
    for k in range(WIDTH):
        alone = np.zeros(12)
        functions()["one_after_the_other"](np.ascontiguousarray(x[:, k]), alone, 3)
        np.testing.assert_array_equal(out[:11, k], alone[:11])
        assert (out[11, k], alone[11]) == (WIDTH, 1)


@functools.cache
def functions():
    return {function.__name__: compiled(function) for function in (one_after_the_other, side_by_side)}


@native
def wide_branch(x: Vector) -> None:
    if x[0] > 1.0:
        x[0] = 1.0


@native
def wide_integer(x: Vector, places: Indices) -> None:
    places[0] = int(x[0])


class Measured(Record):
    size: float


@native
def wide_field(record: Measured, x: Vector) -> None:
    x[0] = record.size


@native
def wide_result(x: Vector) -> float:
    return x[0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wide_branch, r"in a wide function x\[0\] > 1.0 decides only a conditional expression"),
        (wide_integer, "a wide function has no integers from floats"),
        (wide_field, r"Measured\.size is one number, not one for each of 8"),
        (wide_result, r"wide\(wide_result\) has parameters or a result of several floats"),
    ],
)
def test_what_wide_functions_do_not_have(function, message):
    arguments = ", ".join({"x": "x", "places": "places", "record": "record"}[name]
                          for name in function.python.__annotations__ if name != "return")  # fmt: skip
    names = {"wide": wide, "native": native, "function": function, "Vector": Vector, "Indices": Indices}
    names |= {"Measured": Measured}
    source = (
        f"@native\ndef caller(record: Measured, x: Vector, places: Indices) -> None:\n    wide(function)({arguments})\n"
    )
    linecache.cache["<wide>" + function.__name__] = (len(source), None, source.splitlines(True), "")
    exec(compile(source, "<wide>" + function.__name__, "exec"), names)
    with pytest.raises(LanguageError, match=message):
        translate([names["caller"]])
