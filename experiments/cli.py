"""keras-aaa: every command of this package under one name.

    keras-aaa train --dataset=mnist
    keras-aaa evaluate --model=aaa_mnist_ce_mse --attack=autoattack
    keras-aaa COMMAND --help

Each command runs python -m with the module in brackets.
"""

# No import of keras_aaa: help should not wait for TensorFlow.
import runpy
import sys

# command -> (module, what it does); the report writes the table of docs/commands.md from it
COMMANDS = {
    "train": ("experiments.aaa", "train autoencoders, attack them, compare with the AAA paper"),
    "protect": ("experiments.protect", "train a small classifier, protect it, attack it: a demo"),
    "evaluate": (
        "experiments.evaluate",
        "measure how robust a zoo model, a Keras file or a SavedModel is",
    ),
    "transfer": ("experiments.transfer", "try adversarial examples on other models"),
    "zoo": ("zoo", "the model zoo: list, info, verify, fetch, export"),
    "benchmark": ("experiments.benchmark", "compare the speed with other libraries"),
    "revisiting": ("experiments.revisiting", "study plain autoencoders (the Revisiting paper)"),
    "knn": ("experiments.knn", "measure kNN reconstruction (AAA Tables 9 and 10)"),
    "black-box": ("experiments.black_box", "train for a classifier that only answers queries"),
    "attack-costs": ("experiments.attack_costs", "measure the memory and time of each attack"),
    "schedules": ("experiments.schedules", "compare training attacks: PGD, RS-FGSM, N-FGSM"),
    "crafting-precision": (
        "experiments.crafting_precision",
        "compare crafting in bfloat16 and in float32",
    ),
    "report": ("experiments.report", "write the generated tables of the pages"),
}
# abbreviation -> (command, its first argument)
SHORT = {"verify": ("zoo", "verify")}


def main() -> int | None:
    """Run the command that the command line names; return an exit code if none was run."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "help"):
        print(__doc__)
        for name, (module, purpose) in COMMANDS.items():
            print(f"  {name:<19} {purpose} ({module})")
        return 0 if len(sys.argv) > 1 else 2
    arguments = list(sys.argv[1:])
    arguments[:1] = SHORT.get(arguments[0], (arguments[0],))
    if arguments[0] not in COMMANDS:
        known = ", ".join([*COMMANDS, *SHORT])
        print(f"error: expected a command, {known}; got {arguments[0]!r}.", file=sys.stderr)
        return 2
    module, _ = COMMANDS[arguments[0]]
    sys.argv = [f"keras-aaa {arguments[0]}", *arguments[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
