import multiprocessing
import os
import tarfile

import numpy as np
import pytest

import tests.helpers.commands  # noqa: F401
import zoo
from keras_aaa.models import ModelConfig, build
from tests.helpers.zoo_server import serve
from zoo import index, versions
from zoo.artefact import pack, unpack
from zoo.fetch import CACHE_VARIABLE, URL_VARIABLE

NAME = "mnist_small"


def _card():
    return zoo.Card(
        name=NAME,
        version=1,
        kind="classifier",
        dataset="mnist",
        model=ModelConfig("fc", {"hidden": (4,)}, NAME),
        classifier=None,
        threat={"norm": "linf", "eps": 0.3},
        training={},
        provenance={},
        parameters=1,
        measured=(
            zoo.Measurement(1, 2, defended=NAME),
            zoo.Measurement(0, 2, "pgd", 40, 0.01, NAME),
        ),
    )


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A published zoo whose files are not in the package: folder of tars, and the model."""
    root, tars = tmp_path / "published", tmp_path / "tars"
    model = build("fc", hidden=(4,))
    zoo.save(model, NAME, _card(), root)
    index.refresh(root, tmp_path / "index.json")
    tars.mkdir()
    pack(root / NAME / "1", tars / f"{NAME}-1.tar")
    monkeypatch.setattr(versions, "ROOT", tmp_path / "not_here")
    monkeypatch.setattr(versions, "INDEX", tmp_path / "index.json")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    return tmp_path, tars, model


def cached(tmp_path):
    folder = tmp_path / "cache" / NAME
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_fetches_once_and_loads(remote, monkeypatch, scheme):
    tmp_path, tars, model = remote
    with serve(tars) as (address, requests):
        monkeypatch.setenv(URL_VARIABLE, address if scheme == "http" else tars.as_uri())
        for _ in range(2):
            loaded = zoo.load(NAME)
        assert len(requests) == (1 if scheme == "http" else 0)
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert cached(tmp_path) == ["1"]


@pytest.mark.parametrize(
    "behaviour, error, message",
    [
        ("half", (zoo.FetchError, zoo.IntegrityError), f"{NAME}-1.tar"),
        ("html", zoo.IntegrityError, r"expected sha256 .*, found .* \(26 bytes\)"),
        ("missing", zoo.FetchError, "404"),
    ],
)
def test_a_bad_answer_is_a_clear_error_and_leaves_no_cache(
    remote, monkeypatch, behaviour, error, message
):
    tmp_path, tars, _ = remote
    with serve(tars, behaviour) as (address, _):
        monkeypatch.setenv(URL_VARIABLE, address)
        with pytest.raises(error, match=message):
            zoo.load(NAME)
    assert cached(tmp_path) == []
    with serve(tars) as (address, _):
        monkeypatch.setenv(URL_VARIABLE, address)
        zoo.load(NAME)  # and the next try succeeds


def test_another_archive_of_that_name_is_refused(remote, monkeypatch):
    tmp_path, tars, _ = remote
    archive = tars / f"{NAME}-1.tar"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    monkeypatch.setenv(URL_VARIABLE, tars.as_uri())
    with pytest.raises(zoo.IntegrityError, match="expected sha256"):
        zoo.load(NAME)
    assert cached(tmp_path) == []


def test_no_address_no_network_and_odd_addresses(remote, monkeypatch):
    with pytest.raises(zoo.FetchError, match=f"{URL_VARIABLE} is not set"):
        zoo.load(NAME)
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(zoo.FetchError, match="could not be fetched"):
        zoo.load(NAME)
    monkeypatch.setenv(URL_VARIABLE, "ftp://example.org")
    with pytest.raises(zoo.FetchError, match="expected http, https or file"):
        zoo.load(NAME)
    assert cached(remote[0]) == []


def _fetch(index_path, root, environment, out):
    os.environ.update(environment)
    versions.INDEX, versions.ROOT = index_path, root
    out.put(versions.find(NAME).folder().name)


def test_two_processes_fetching_at_once_both_succeed(remote, monkeypatch):
    tmp_path, tars, _ = remote
    context = multiprocessing.get_context("forkserver")  # of helpers.commands: loaded already
    out = context.Queue()
    with serve(tars) as (address, _):
        monkeypatch.setenv(URL_VARIABLE, address)
        environment = {name: os.environ[name] for name in (URL_VARIABLE, CACHE_VARIABLE)}
        arguments = (tmp_path / "index.json", tmp_path / "not_here", environment, out)
        processes = [context.Process(target=_fetch, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    assert [out.get(timeout=5) for _ in processes] == ["1", "1"]
    assert cached(tmp_path) == ["1"]


@pytest.mark.parametrize("member", ["../outside", "/absolute", "link"])
def test_unpacking_cannot_leave_its_folder(tmp_path, member):
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo(member)
        if member == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    folder = tmp_path / "folder"
    folder.mkdir()
    if member == "/absolute":  # tarfile strips the slash
        unpack(archive, folder)
        assert [p.name for p in folder.iterdir()] == ["absolute"]
    else:
        with pytest.raises(ValueError, match=r"bad\.tar"):
            unpack(archive, folder)
        assert not list(folder.iterdir())
    assert not (tmp_path / "outside").exists()


def test_archives_are_the_same_from_the_same_files(remote, tmp_path):
    folder = tmp_path / "published" / NAME / "1"
    pack(folder, tmp_path / "one.tar")
    (folder / "card.json").touch()
    pack(folder, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_index_and_pages_are_checked_against_the_cards(remote):
    tmp_path = remote[0]
    root, path = tmp_path / "published", tmp_path / "index.json"
    assert index.refresh(root, path, check=True) == []
    page = root / NAME / "README.md"
    assert "eps 0.3" in page.read_text() and "50.00" in page.read_text()
    page.write_text("typed by hand")
    assert index.refresh(root, path, check=True) == [page]
