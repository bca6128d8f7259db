"""The contenders that run on PyTorch: a loop written by hand, and torchattacks.

The model is the defence with the same weights, channels-last. Each set-up takes (loaded, workload,
precision) and returns run(images, labels) on NHWC numpy arrays.
"""

import os

import numpy as np
import torch
from torch.nn import functional

from experiments.benchmark.torch_port import Ported
from experiments.benchmark.workloads import LoadedWorkload, Workload

torch.set_num_threads(os.cpu_count() or 1)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _to_torch(images: np.ndarray) -> torch.Tensor:
    nchw = torch.from_numpy(images).permute(0, 3, 1, 2)
    return nchw.contiguous(memory_format=torch.channels_last)


def _to_numpy(images: torch.Tensor) -> np.ndarray:
    return images.detach().permute(0, 2, 3, 1).contiguous().numpy()


def _ported(model, precision: str) -> Ported:
    port = Ported(model).to(DTYPES[precision]).to(memory_format=torch.channels_last)
    return port.eval().requires_grad_(False)


def _attack(logits, x, y, eps: float, steps: int, step_size: float) -> torch.Tensor:
    x_adv = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        loss = functional.cross_entropy(logits(x_adv).float(), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() + step_size * gradient.sign()
        x_adv = torch.maximum(torch.minimum(x_adv, x + eps), x - eps).clamp(0, 1)
    return x_adv.detach()


def plain_pgd(loaded: LoadedWorkload, workload: Workload, precision: str):
    model, dtype = _ported(loaded.defence, precision), DTYPES[precision]

    def run(images, labels):
        x, y = _to_torch(images), torch.from_numpy(labels)
        eps = loaded.threat.eps
        return _to_numpy(
            _attack(lambda v: model(v.to(dtype)), x, y, eps, workload.steps, workload.step_size)
        )

    return run


def torchattacks_pgd(loaded: LoadedWorkload, workload: Workload, precision: str):
    import torchattacks

    model = _ported(loaded.defence, precision)
    settings = {"eps": loaded.threat.eps, "alpha": workload.step_size, "steps": workload.steps}
    attack = torchattacks.PGD(model, **settings, random_start=True)
    return lambda images, labels: _to_numpy(attack(_to_torch(images), torch.from_numpy(labels)))


def plain_logits(loaded: LoadedWorkload, workload: Workload, precision: str):
    model = _ported(loaded.defence, precision)

    @torch.no_grad()
    def run(images, labels):
        return model(_to_torch(images).to(DTYPES[precision])).float().numpy()

    return run


def plain_training(loaded: LoadedWorkload, workload: Workload, precision: str):
    """Train float32 weights under autocast, PyTorch's usual way to train in bfloat16."""
    autoencoder = Ported(loaded.autoencoder).to(memory_format=torch.channels_last).train()
    classifier = _ported(loaded.classifier, "float32")
    optimizer = torch.optim.Adam(autoencoder.parameters(), 1e-3)
    mixed = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")

    def run(images, labels):
        x, y = _to_torch(images), torch.from_numpy(labels)
        with mixed:
            autoencoder.eval().requires_grad_(False)
            x_adv = _attack(
                lambda v: classifier(autoencoder(v)),
                x, y, loaded.threat.eps, workload.steps, workload.step_size,
            )  # fmt: skip
            autoencoder.train().requires_grad_(True)
            reconstruction = autoencoder(x_adv)
            logits = classifier(reconstruction).float()
            loss = functional.cross_entropy(logits, y)
            loss = loss + functional.mse_loss(reconstruction.float(), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()

    return run
