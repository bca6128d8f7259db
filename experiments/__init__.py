"""One command a job: python -m experiments.<name> --help."""

import os

# TensorFlow's start-up notices would bury what a command prints; its errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
