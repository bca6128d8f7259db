"""The commands of this project: python -m experiments.<name> --help."""

import os

# Hide TensorFlow's start-up notices, which would bury a command's output. Errors are still shown.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
