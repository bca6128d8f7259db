"""What several tests share: commands, servers, workers, small trainings."""

from pathlib import Path

HELPERS = Path(__file__).parent
PROJECT = HELPERS.parent.parent
