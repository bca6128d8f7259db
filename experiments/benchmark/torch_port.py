"""A Keras functional model as a torch.nn.Module with the same weights, channels first."""

from collections.abc import Callable

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from keras_aaa.fast.keras_graph import calls

ACTIVATIONS = {"linear": lambda x: x, "relu": functional.relu, "sigmoid": torch.sigmoid}


class Ported(nn.Module):
    """Run the graph of a Keras model, whose layers are in MODULES; nested models are included.

    Raises:
        ValueError: for a layer without a PyTorch counterpart in MODULES.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self.operations = nn.ModuleList()
        self.wires: list[tuple[list[int], int]] = []
        self.ends = id(model.inputs[0]), id(model.outputs[0])
        for operation in model.operations:
            if isinstance(operation, keras.layers.InputLayer):
                continue
            node = calls(operation)[-1]
            self.operations.append(_module(operation))
            self.wires.append(([id(t) for t in node.input_tensors], id(node.output_tensors[0])))

    def forward(self, x):
        values = {self.ends[0]: x}
        for operation, (sources, target) in zip(self.operations, self.wires, strict=True):
            values[target] = operation(*(values[source] for source in sources))
        return values[self.ends[1]]


class _Function(nn.Module):
    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class _Convolution(nn.Module):
    """With TensorFlow's "same" padding, an odd padding puts the extra pixel at the end."""

    def __init__(self, layer):
        super().__init__()
        kernel, *bias = layer.get_weights()
        self.transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        # Keras: (h, w, in, out), or (h, w, out, in) if transposed. PyTorch reverses the channels.
        order = (3, 2, 0, 1)
        self.weight = nn.Parameter(torch.from_numpy(kernel.transpose(order).copy()))
        self.bias = nn.Parameter(torch.from_numpy(bias[0])) if bias else None
        self.stride, self.size, self.padded = layer.strides[0], kernel.shape[0], layer.padding
        self.activation = ACTIVATIONS[layer.activation.__name__]

    def forward(self, x):
        if self.transposed:
            x, wanted = self._transposed(x)
            before = max(self.size - self.stride, 0) // 2
            x = x[..., before : before + wanted[0], before : before + wanted[1]]
        else:
            x = functional.pad(x, self._padding(x)) if self.padded == "same" else x
            x = functional.conv2d(x, self.weight, self.bias, self.stride)
        return self.activation(x)

    def _transposed(self, x):
        wanted = [n * self.stride for n in x.shape[2:]]
        return functional.conv_transpose2d(x, self.weight, self.bias, self.stride), wanted

    def _padding(self, x) -> list[int]:
        sides = []
        for n in reversed(x.shape[2:]):
            total = max((-(-n // self.stride) - 1) * self.stride + self.size - n, 0)
            sides += [total // 2, total - total // 2]
        return sides


class _Dense(nn.Module):
    def __init__(self, layer):
        super().__init__()
        kernel, bias = layer.get_weights()
        self.weight = nn.Parameter(torch.from_numpy(kernel.T.copy()))
        self.bias = nn.Parameter(torch.from_numpy(bias))
        self.activation = ACTIVATIONS[layer.activation.__name__]

    def forward(self, x):
        return self.activation(functional.linear(x, self.weight, self.bias))


def _batch_norm(layer) -> nn.Module:
    module = nn.BatchNorm2d(layer.gamma.shape[0], eps=layer.epsilon, momentum=1 - layer.momentum)
    arrays = map(torch.from_numpy, map(np.asarray, layer.get_weights()))
    names = ("weight", "bias", "running_mean", "running_var")
    module.load_state_dict(dict(zip(names, arrays, strict=True)), strict=False)
    return module


def _flatten(layer) -> nn.Module:
    # Keras flattens in the order height, width, channels.
    return _Function(lambda x: (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).flatten(1))


def _reshape(layer) -> nn.Module:
    shape = tuple(layer.target_shape)
    return _Function(lambda x: x.reshape(-1, *shape).permute(0, 3, 1, 2))


def _pad(operation) -> nn.Module:
    # Keras gives the widths in NHWC order; PyTorch takes NCHW, last axis first.
    (_, rows, columns, channels) = operation.pad_width
    widths = [*columns, *rows, *channels]
    return _Function(lambda x: functional.pad(x, widths))


def _same(layer) -> nn.Module:
    return nn.Identity()


MODULES: dict[str, Callable[..., nn.Module]] = {
    "CheckedImages": _same,
    "Identity": _same,
    "Dropout": _same,
    "Conv2D": _Convolution,
    "Conv2DTranspose": _Convolution,
    "Dense": _Dense,
    "BatchNormalization": _batch_norm,
    "FusedBatchNormalization": _batch_norm,
    "LayerNormalization": lambda layer: _Function(
        lambda x: functional.layer_norm(x, x.shape[1:], eps=layer.epsilon)
    ),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Pad": _pad,
    "Activation": lambda layer: _Function(ACTIVATIONS[layer.activation.__name__]),
    "ReLU": lambda layer: nn.ReLU(),
    "LeakyReLU": lambda layer: nn.LeakyReLU(layer.negative_slope),
    "MaxPooling2D": lambda layer: nn.MaxPool2d(layer.pool_size, layer.strides),
    "AveragePooling2D": lambda layer: nn.AvgPool2d(layer.pool_size, layer.strides),
    "GlobalAveragePooling2D": lambda layer: _Function(lambda x: x.mean((2, 3))),
    "UpSampling2D": lambda layer: nn.Upsample(scale_factor=tuple(map(float, layer.size))),
    "Concatenate": lambda layer: _Function(lambda *inputs: torch.cat(inputs, 1)),
    "Add": lambda layer: _Function(lambda *inputs: sum(inputs)),
}


def _module(operation) -> nn.Module:
    if isinstance(operation, keras.Model):
        return Ported(operation)
    kind = type(operation).__name__
    if kind not in MODULES:
        raise ValueError(f"{operation.name}: a {kind} has no PyTorch counterpart here.")
    return MODULES[kind](operation)
