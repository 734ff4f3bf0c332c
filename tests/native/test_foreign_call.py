"""Native code called from compiled JAX: shapes, batches, threads, and names."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench  # noqa: F401  switches JAX to 64 bits
from uqbench.native import foreign_call, xla_interface
from uqbench.native.foreign_call import CALLS_UNDER_WAY, Call, Model, call_model, operand, register, result
from uqbench.native.language import native, sin
from uqbench.native.library import pack

pytestmark = pytest.mark.skipif(not xla_interface.supported(), reason="another version of XLA's interface")

NUMBERS = 3


class Toy(Model):
    factor: float


@native
def iterate(model: Toy, call: Call, member: int) -> None:
    """x -> sin(factor x + 1) as often as the settings say; the number of iterations differs between members."""
    x = operand(call, 0, member)
    out = result(call, 0, member)
    count = int(operand(call, 1, member)[0])
    for k in range(call.operand_sizes[0]):
        value = x[k]
        for _ in range(count):
            value = sin(model.factor * value + 1.0)
        out[k] = value
    result(call, 1, member)[0] = count


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return foreign_call.build(iterate)


@pytest.fixture(scope="module")
def model(engine):
    packed = pack(
        Toy, settings=2, busy=CALLS_UNDER_WAY, share=1, wide=None, side_by_side=None, make_wide=None, factor=0.5
    )
    register("toy", packed.address, engine)
    return packed


def solve(x, settings, name="toy"):
    return call_model(name, (x, settings), ((NUMBERS,), ()))


def inputs(*batch, seed=0, most=200):
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, most, batch).astype(float)
    return jnp.asarray(draw.normal(size=(*batch, NUMBERS))), jnp.asarray(np.stack([counts, 0 * counts], -1))


def expected(x, count):
    value = np.array(x)
    for _ in range(int(count)):
        value = np.sin(0.5 * value + 1.0)
    return value


def test_one_member(model):
    x, settings = inputs()
    values, count = jax.jit(solve)(x, settings)
    assert values.shape == (NUMBERS,) and count == settings[0]
    np.testing.assert_allclose(values, expected(x, settings[0]), rtol=1e-13)


@pytest.mark.parametrize("batch", [0, 1, 2, 257])
def test_members_of_a_batch_are_bitwise_those_of_single_calls(model, batch):
    x, settings = inputs(batch)
    values, counts = jax.jit(jax.vmap(solve))(x, settings)
    assert values.shape == (batch, NUMBERS) and counts.shape == (batch,)
    single = jax.jit(solve)
    for b in range(batch):
        np.testing.assert_array_equal(values[b], single(x[b], settings[b])[0])


def test_nested_batches_and_operands_without_a_batch_axis(model):
    x, settings = inputs(5, 7)
    nested = jax.jit(jax.vmap(jax.vmap(solve)))(x, settings)[0]
    flat = jax.jit(jax.vmap(solve))(x.reshape(35, NUMBERS), settings.reshape(35, 2))[0]
    np.testing.assert_array_equal(nested.reshape(35, NUMBERS), flat)
    shared = jax.jit(jax.vmap(solve, in_axes=(0, None)))(x[0], settings[0, 0])[0]
    np.testing.assert_array_equal(shared[0], nested[0, 0])
    mixed = jax.jit(jax.vmap(jax.vmap(solve, (0, None)), (None, 0)))(x[0], settings[0])[0]
    assert mixed.shape == (7, 7, NUMBERS)
    np.testing.assert_array_equal(mixed[3, 3], nested[0, 3])


def test_calls_from_many_threads_agree(model):
    run = jax.jit(jax.vmap(solve))
    cases = [inputs(64, seed=seed) for seed in range(4)]
    wanted = [run(*case)[0] for case in cases]
    wrong = []

    def repeat(case, value):
        for _ in range(30):
            if not np.array_equal(run(*case)[0], value):
                wrong.append(case)

    threads = [threading.Thread(target=repeat, args=pair) for pair in zip(cases, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_calls_inside_loops_of_compiled_code(model):
    x, settings = inputs(9, most=20)

    @jax.jit
    def walk(x):
        return jax.lax.fori_loop(0, 50, lambda _, x: jax.vmap(solve)(x, settings)[0], x)

    once = jax.jit(jax.vmap(solve))
    following = x
    for _ in range(50):
        following = once(following, settings)[0]
    np.testing.assert_array_equal(walk(x), following)


def test_a_name_that_is_known_keeps_its_model(model, engine):
    other = pack(
        Toy, settings=2, busy=CALLS_UNDER_WAY, share=1, wide=None, side_by_side=None, make_wide=None, factor=-3.0
    )
    register("toy", other.address, engine)
    register("toy of another factor", other.address, engine)
    x, settings = inputs()
    np.testing.assert_allclose(solve(x, settings)[0], expected(x, settings[0]), rtol=1e-13)
    different = solve(x, settings.at[0].set(1.0), "toy of another factor")[0]
    np.testing.assert_allclose(different, np.sin(1.0 - 3.0 * x), rtol=1e-13)


def test_wrong_operands_are_errors(model):
    x, settings = inputs()
    with pytest.raises(TypeError, match="float64 arrays, not float32"):
        solve(x.astype(jnp.float32), settings)
    with pytest.raises(Exception, match="do not have the same leading axes"):
        jax.block_until_ready(solve(x, settings[:1]))
    with pytest.raises(Exception, match="do not have the same leading axes"):
        jax.block_until_ready(solve(x, jnp.zeros((2, 2))))


def test_an_operand_of_another_type_is_noticed_by_the_handler(model):
    call = jax.ffi.ffi_call("toy", [jax.ShapeDtypeStruct((NUMBERS,), jnp.float64)] * 2)
    with pytest.raises(Exception, match="is a float64 array"):
        jax.block_until_ready(call(jnp.zeros(NUMBERS, jnp.float32), jnp.zeros(2)))


def test_another_version_of_the_interface_is_not_supported(tmp_path, monkeypatch):
    header = tmp_path / "xla" / "ffi" / "api" / "c_api.h"
    monkeypatch.setattr(jax.ffi, "include_dir", lambda: str(tmp_path))
    assert not xla_interface.supported.__wrapped__()
    header.parent.mkdir(parents=True)
    header.write_text("#define XLA_FFI_API_MAJOR 0\n#define XLA_FFI_API_MINOR 6\n")
    assert not xla_interface.supported.__wrapped__()
    header.write_text("#define XLA_FFI_API_MAJOR 0\n#define XLA_FFI_API_MINOR 5\n")
    assert xla_interface.supported.__wrapped__()


def test_a_model_without_settings_is_refused():
    @native
    def solve_nothing(model: Call, call: Call, member: int) -> None:
        return

    with pytest.raises(TypeError, match="the first field of Call is `settings: int`"):
        foreign_call.build(solve_nothing)
