"""Pack and unpack an artefact as one tar file; the same files always give the same bytes."""

import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path) -> None:
    """Write every file below `folder` into a tar file, sorted by path, without owners and times.

    The tar file is not compressed, because weights do not compress.
    """

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 0
        info.mode = 0o644
        return info

    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            tar.add(path, path.relative_to(folder).as_posix(), filter=plain)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar file into an existing folder; nothing is written outside it.

    Raises:
        ValueError: if it is not a tar file, or holds a link, a device or a path outside the folder.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            odd = [m.name for m in tar.getmembers() if not (m.isfile() or m.isdir())]
            if odd:
                raise ValueError(f"{archive.name}: expected plain files, found {odd[0]!r}.")
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive.name} cannot be unpacked: {error}.") from error
