"""What evaluate may publish on a card of the zoo."""

from experiments.cards import unclaimed
from keras_aaa.results import Measurement

COMMAND = "experiments.evaluate"


def test_figures_of_another_command_stay_on_the_card(capsys):
    """mnist_fc has clean, PGD-40 and AutoAttack; older cards do not name the commands."""
    name = "mnist_fc"
    clean, pgd40, pgd7, autoattack = (
        Measurement(5, 10, attack, steps, defended=name, command=COMMAND)
        for attack, steps in (("clean", None), ("pgd", 40), ("pgd", 7), ("autoattack", None))
    )
    assert unclaimed(name, [clean, pgd40, pgd7, autoattack], COMMAND) == [pgd7, autoattack]
    printed = capsys.readouterr().out
    assert "clean: " in printed and "pgd-40: " in printed and "autoattack" not in printed
    assert unclaimed(name, [clean], "experiments.aaa") == [clean]
