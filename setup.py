"""Metadata of keras_aaa; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

# Lower bounds keep an older pip from backtracking through years of releases.
REQUIRES = [
    "tensorflow>=2.20",
    "keras>=3.12",
    "tensorflow-datasets>=4.9.7",
    "importlib_resources>=6.0",  # tensorflow-datasets needs it on Python 3.11 and does not say so
    "tensorboard>=2.20",
    "cleverhans>=4.0.0",
    "numpy>=2.0",
    "absl-py>=2.1",
    "matplotlib>=3.9",
    "rich>=13.7",
]
EXTRAS = {
    "compiled": ["jax>=0.10", "pillow>=10.0"],
    "bench": ["adversarial-robustness-toolbox>=1.20", "foolbox>=3.3.4"],
    "knn": ["faiss-cpu>=1.10"],
    "serving": ["tensorflow-serving-api>=2.20"],
    "test": [
        "pytest>=8.0",
        "pytest-xdist>=3.8",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "mypy>=1.11",
        "faiss-cpu>=1.10",
        "jax>=0.10",
        "pillow>=10.0",
        "openvino>=2025.0",
        "adversarial-robustness-toolbox>=1.20",
    ],
}

HERE = Path(__file__).parent
SOURCE = (HERE / "keras_aaa" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'__version__ = "(.*?)"', SOURCE)[1]

setup(
    name="keras_aaa",
    version=VERSION,
    description="Adversarially trained autoencoders that protect any Keras image classifier",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["keras_aaa*", "zoo*", "experiments*"]),
    package_data={
        "keras_aaa": ["data/embedded/**/*", "py.typed"],
        "zoo": ["index.json", "models/**/*"],
        "experiments": ["*.json", "results/**/*"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["keras-aaa=experiments.cli:main"]},
)
