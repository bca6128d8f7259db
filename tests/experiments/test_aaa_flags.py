"""Flags of the AAA command that contradict each other or would do nothing."""

import pytest

from tests.helpers.commands import run


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--dataset=mnits"], "Did you mean 'mnist'"),
        (["--recipe=fst"], "Did you mean 'fast'"),
        (["--loss=cemse"], "Did you mean 'ce_mse'"),
        (["--epochs=0"], "lower bound"),
        (["--data_dir=/nowhere", "--latent=0"], "latent"),
        (["--classifiers=mnist_madri"], "Did you mean 'mnist_madry'"),
        (["--start_from=mnist_fc"], "expected --train_classifiers"),
        (["--start_from=aaa_mnist_ce", "--loss=", "--baseline"], "expected --loss or --ensemble"),
        (["--start_from=aaa_mnist_ce", "--width=64"], "aaa_mnist_ce cannot initialise"),
        (["--publish"], "expected --from_zoo with it"),
        (["--from_zoo", "--recipe=quick", "--epochs=3"], "leave out --epochs, --recipe"),
        (["--from_zoo", "--precision=float32"], "leave out --precision"),
        (["--loss=mse", "--temperature=4"], "uses it, but this run has mse; leave it out"),
        (["--loss=ce,mse", "--mse_weight=4"], "uses it, but this run has ce, mse; leave it out"),
        (["--loss=", "--baseline", "--encoder_epochs=1"], "this run has no autoencoder"),
        (["--loss=", "--latent=8"], "--latent: expected a loss that uses it"),
        (["--frozen_encoder=1"], "--frozen_encoder: expected a trained encoder; name one by"),
        (["--plateau_epochs=3"], "--plateau_epochs: no training of this run uses it"),
        (["--from_zoo", "--latent=128"], "aaa_mnist_ce_mse of the zoo has 1024, not 128"),
        (["--dataset=fashion_mnist", "--latent=8"], "has no such size"),
    ],
)
def test_bad_flags_are_one_line(flags, message, tmp_path):
    done = run("experiments.aaa", f"--workdir={tmp_path}", *flags)
    err = done.stderr
    assert done.returncode != 0
    assert message in err or message.replace("lower bound", ">= 1") in err or "[1," in err
    assert "Traceback" not in err
