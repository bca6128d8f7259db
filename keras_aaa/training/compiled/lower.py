"""Lower TensorFlow graphs to StableHLO modules that any XLA runtime executes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

MISSING = (
    "JAX: expected jax>=0.10 to write a job for machines without TensorFlow, found none; "
    'install it: pip install "keras_aaa[compiled]".'
)


def check_jax() -> None:
    """Raise ValueError with instructions if JAX is not installed."""
    try:
        import jax  # noqa: F401
    except ImportError as error:
        raise ValueError(MISSING) from error


@dataclass(frozen=True)
class Module:
    """A function compiled ahead of time.

    Args:
        artifact: StableHLO, portable between versions of XLA.
        version: the oldest version of StableHLO that can read it.
        takes, gives: (shape, name of the dtype) of each argument and of each result.
    """

    artifact: bytes
    version: str
    takes: list[tuple[list[int], str]]
    gives: list[tuple[list[int], str]]


def lower(run: Callable, inputs: Sequence[tf.TensorSpec], state: Sequence) -> Module:
    """Compile `run` ahead of time, as a function of its arguments alone.

    The arguments are (*inputs, *state, *unread), the results (*outputs, *state, *unwanted).
    TensorFlow adds the variables to the arguments and results of compiled code, after ours. Pass
    zeros for these arguments: `run` reads only the state's arguments.

    Args:
        run: run(*inputs) -> list of tensors; graph code that reads and assigns variables.
        inputs: the specs of the arguments before the state.
        state: every variable that it reads or assigns.

    Raises:
        ValueError: if JAX is not installed.
    """
    check_jax()
    from jax.extend.mlir import hlo_to_stablehlo

    variables = [v.value if isinstance(v, keras.Variable) else v for v in state]

    @tf.function(jit_compile=True, autograph=False)
    def stateless(*arguments):
        for variable, value in zip(variables, arguments[len(inputs) :], strict=True):
            variable.assign(value)
        outputs = run(*arguments[: len(inputs)])
        return [*outputs, *map(tf.identity, variables)]

    specs = [*inputs, *(tf.TensorSpec(v.shape, v.dtype) for v in variables)]
    # A CPU module has only standard operations. For CUDA, TensorFlow refuses variables.
    compiler = stateless.experimental_get_compiler_ir(*specs)
    return _module(hlo_to_stablehlo(compiler(stage="hlo_serialized", platform_name="CPU")))


def _module(artifact: bytes) -> Module:
    """Remove operations that GPU compilers refuse from an artifact, and read its types."""
    from jax._src.interpreters.mlir import make_ir_context  # JAX has no public version
    from jax.extend.mlir import ir
    from jax.extend.mlir.dialects import stablehlo

    copies, functions = [], {}

    def visit(operation):
        if operation.name == "mhlo.copy":  # of a result that is also an argument or a result
            copies.append(operation)
        elif operation.name == "func.func":
            functions[ir.StringAttr(operation.attributes["sym_name"]).value] = operation
        return ir.WalkResult.ADVANCE

    with make_ir_context() as context:
        module = stablehlo.deserialize_portable_artifact(context, artifact)
        module.operation.walk(visit)
        for copy in copies:
            copy.results[0].replace_all_uses_with(copy.operands[0])
            copy.erase()
        for name in list(module.operation.attributes):
            if name.startswith("mhlo."):  # pairs of arguments and results; JAX sets its own
                del module.operation.attributes[name]
        signature = ir.FunctionType(
            ir.TypeAttr(functions["main"].attributes["function_type"]).value
        )
        takes, gives = (
            [_described(ir.RankedTensorType(each)) for each in types]
            for types in (signature.inputs, signature.results)
        )
        # A JAX that is three months older can then read it too.
        version = stablehlo.get_version_from_compatibility_requirement(
            stablehlo.StablehloCompatibilityRequirement.WEEK_12
        )
        artifact = stablehlo.serialize_portable_artifact(module, version)
        return Module(artifact, version, takes, gives)


def _described(tensor) -> tuple[list[int], str]:
    kind = str(tensor.element_type)
    letters = kind.rstrip("0123456789")
    names = {"f": "float", "bf": "bfloat", "i": "int", "ui": "uint"}
    return list(tensor.shape), "bool" if kind == "i1" else names[letters] + kind[len(letters) :]
