"""keras-aaa: every command of this package under one name.

    keras-aaa train --dataset=mnist
    keras-aaa evaluate --model=aaa_mnist_ce_mse --attack=autoattack
    keras-aaa COMMAND --help

Each command is the same as python -m of the module beside it.
"""

# No import of keras_aaa: help should not wait for TensorFlow.
import runpy
import sys

# command -> (module, what it does)
COMMANDS = {
    "train": ("experiments.aaa", "train autoencoders, attack, compare with the AAA paper"),
    "protect": ("experiments.protect", "put an autoencoder of the zoo before a classifier"),
    "evaluate": ("experiments.evaluate", "attack a model of the zoo, a .keras file, a SavedModel"),
    "zoo": ("zoo", "list, info, verify, fetch, export: the model zoo"),
    "benchmark": ("experiments.benchmark", "time attacks and training beside other libraries"),
    "revisiting": ("experiments.revisiting", "the study of the Revisiting paper"),
    "knn": ("experiments.knn", "reconstruct from nearest neighbours (AAA Tables 9 and 10)"),
    "black-box": ("experiments.black_box", "train before a classifier that is only queried"),
    "schedules": ("experiments.schedules", "compare training attacks of the same work"),
    "crafting-precision": ("experiments.crafting_precision", "what crafting in bfloat16 changes"),
    "report": ("experiments.report", "rewrite the result tables of the pages"),
}
# Short for a command with its first argument.
SHORT = {"verify": ("zoo", "verify")}


def main() -> int | None:
    """Run the command that the command line names; return an exit code where there is none."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "help"):
        print(__doc__)
        for name, (module, purpose) in COMMANDS.items():
            print(f"  {name:<19} {purpose} ({module})")
        return 0 if len(sys.argv) > 1 else 2
    given = list(sys.argv[1:])
    given[:1] = SHORT.get(given[0], (given[0],))
    if given[0] not in COMMANDS:
        known = ", ".join([*COMMANDS, *SHORT])
        print(f"error: expected a command, {known}; got {given[0]!r}.", file=sys.stderr)
        return 2
    module, _ = COMMANDS[given[0]]
    sys.argv = [f"keras-aaa {given[0]}", *given[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
