"""The contenders: for each kind of workload, a name and a set-up function."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from keras_aaa.checks import lookup

_TENSORFLOW = "experiments.benchmark.in_tensorflow"
_TORCH = "experiments.benchmark.in_torch"


@dataclass(frozen=True)
class Contender:
    """A library's way of doing a kind of workload.

    Args:
        module: the module of its function; imported only in the contender's own process.
        function: set-up(loaded, workload, precision) -> run(images, labels) -> array or None.
        requires: the package that must be installed.
        precision: "float32" or "bfloat16".
    """

    module: str
    function: str
    requires: str = "tensorflow"
    precision: str = "float32"

    @property
    def missing(self) -> bool:
        """Whether the required package is not installed."""
        return importlib.util.find_spec(self.requires) is None

    def set_up(self, loaded, workload) -> Callable:
        """Import the contender and return its run(images, labels)."""
        return getattr(importlib.import_module(self.module), self.function)(
            loaded, workload, self.precision
        )


CONTENDERS: dict[str, dict[str, Contender]] = {
    "attack": {
        "ours bfloat16": Contender(_TENSORFLOW, "our_pgd", precision="bfloat16"),
        "ours float32": Contender(_TENSORFLOW, "our_pgd"),
        "CleverHans": Contender(_TENSORFLOW, "cleverhans_pgd", "cleverhans"),
        "ART": Contender(_TENSORFLOW, "art_pgd", "art"),
        "Foolbox": Contender(_TENSORFLOW, "foolbox_pgd", "foolbox"),
        "PyTorch bfloat16": Contender(_TORCH, "plain_pgd", "torch", "bfloat16"),
        "PyTorch float32": Contender(_TORCH, "plain_pgd", "torch"),
        "torchattacks": Contender(_TORCH, "torchattacks_pgd", "torchattacks"),
    },
    "training": {
        "ours bfloat16": Contender(_TENSORFLOW, "our_training", precision="bfloat16"),
        "ours float32": Contender(_TENSORFLOW, "our_training"),
        "ART": Contender(_TENSORFLOW, "art_training", "art"),
        "PyTorch bfloat16": Contender(_TORCH, "plain_training", "torch", "bfloat16"),
        "PyTorch float32": Contender(_TORCH, "plain_training", "torch"),
    },
    "clean": {
        "ours bfloat16": Contender(_TENSORFLOW, "our_logits", precision="bfloat16"),
        "ours float32": Contender(_TENSORFLOW, "our_logits"),
        "PyTorch bfloat16": Contender(_TORCH, "plain_logits", "torch", "bfloat16"),
        "PyTorch float32": Contender(_TORCH, "plain_logits", "torch"),
    },
}


def contender_for(kind: str, name: str) -> Contender:
    """Return the contender of that name.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    return lookup(f"contender for {kind}", name, CONTENDERS[kind])
