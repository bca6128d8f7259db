"""The smallest settings of each attack, for tests of what all attacks share."""

# Smallest settings of each attack; what they mean is tested elsewhere.
SETTINGS: dict[str, dict] = {
    "apgd": {"steps": 3},
    "carlini_wagner": {"steps": 3, "searches": 1},
    "deepfool": {"steps": 2, "classes": 3},
    "fab": {"steps": 2},
    "fgsm": {},
    "hop_skip_jump": {"iterations": 1, "first_evaluations": 2},
    "pgd": {"steps": 2, "step_size": 0.1},
    "random_noise": {},
    "spsa": {"steps": 1, "samples": 2},
    "square": {"queries": 3},
    "transfer_pgd": {"steps": 2, "step_size": 0.1, "kernel": 3},
}
