"""Fetch an artefact from a remote zoo into the cache; a fetch is atomic."""

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import keras

from keras_aaa.hashing import IntegrityError, file_hash
from zoo.artefact import unpack
from zoo.card import verified_card
from zoo.index import IndexEntry

URL_VARIABLE = "KERAS_AAA_ZOO_URL"
CACHE_VARIABLE = "KERAS_AAA_ZOO_CACHE"
SCHEMES = ("http", "https", "file")


class FetchError(OSError):
    """An artefact could not be fetched."""


def cache() -> Path:
    """Return the cache folder of fetched artefacts."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/keras_aaa/zoo").expanduser()


def fetch(name: str, version: int, entry: IndexEntry) -> Path:
    """Return cache()/name/version, fetched from <KERAS_AAA_ZOO_URL>/<name>-<version>.tar if absent.

    Several processes may fetch at once. Each downloads into its own folder, and the first one to
    finish moves its copy into place.

    Args:
        name, version: of the artefact; the caller has checked them.
        entry: the index's pinned hashes.

    Raises:
        FetchError: if no URL is set, or if the download fails.
        IntegrityError: if the download differs from the published artefact.
    """
    folder = cache() / name / str(version)
    if folder.is_dir():
        return folder
    base = os.environ.get(URL_VARIABLE, "")
    if not base:
        raise FetchError(
            f"{name} version {version} is not on this machine, and {URL_VARIABLE} is not set. Set "
            f"it to the address of a folder with {name}-{version}.tar (http, https or file)."
        )
    if urlsplit(base).scheme not in SCHEMES:
        raise FetchError(f"{URL_VARIABLE}: expected http, https or file, got {base!r}.")
    url = f"{base.rstrip('/')}/{name}-{version}.tar"
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fetching-"))
    try:
        archive = _download(url, temporary, entry.archive_sha256)
        unpacked = temporary / "unpacked"
        unpacked.mkdir()
        unpack(archive, unpacked)
        verified_card(unpacked, entry.card_sha256)
        try:
            os.rename(unpacked, folder)
        except OSError:
            if not folder.is_dir():  # another process may have moved an identical copy first
                raise
    finally:
        shutil.rmtree(temporary)
    return folder


def _download(url: str, folder: Path, expected: str) -> Path:
    try:
        path = keras.utils.get_file(
            fname="archive.tar", origin=url, cache_dir=str(folder), cache_subdir="", extract=False
        )
    # Keras turns every HTTP and URL error into a plain Exception that names the address.
    except Exception as error:
        raise FetchError(f"{url} could not be fetched: {error}") from error
    sha256 = file_hash(Path(path))
    if sha256 != expected:
        size = Path(path).stat().st_size
        raise IntegrityError(
            f"{url}: expected sha256 {expected}, found {sha256} ({size} bytes). The download is "
            "incomplete, or the address serves another file; try again or check the address."
        )
    return Path(path)
