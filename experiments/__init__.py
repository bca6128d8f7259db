"""One command a job: python -m experiments.<name> --help."""

import os

# TensorFlow's start-up notices would bury what a command prints. Without an NVIDIA device its
# errors too are about nothing else than that.
quiet = "2" if os.path.exists("/dev/nvidiactl") else "3"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", quiet)
