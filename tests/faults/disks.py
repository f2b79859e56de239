"""Small file systems in memory under the stores' folders, that can be made full and roomy again."""

import asyncio
import os
from pathlib import Path

PAGE = 4096
EXTRA_PAGES = 4  # what is left on a full disk: a byte of this is no room for anything


class Disk:
    """One tmpfs; where mounting is not permitted there is none, and whoever wants it full is told so."""

    def __init__(self, name: str, folder: Path, *, megabytes: int) -> None:
        self.name = name
        self.folder = folder
        self.megabytes = megabytes
        self.mounted = False
        self.why_not = ""

    async def mount(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        mode = self.folder.stat().st_mode & 0o777
        options = f"size={self.megabytes}m,mode={mode:o}"
        self.why_not = await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))
        if not self.why_not and not _keeps_attributes(self.folder):
            await self.unmount()
            self.why_not = "this kernel's tmpfs keeps no user attributes, which the object store needs"
            return
        self.mounted = not self.why_not

    async def fill(self) -> bool:
        """Makes it as small as what lies on it; False: it could not be done."""
        state = os.statvfs(self.folder)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        return not await self._resize(f"{used + EXTRA_PAGES * PAGE}")

    async def free(self) -> None:
        if problem := await self._resize(f"{self.megabytes}m"):
            raise RuntimeError(f"{self.folder} stays full: {problem}")

    async def unmount(self) -> None:
        # Lazily: a process that still ends may have a file open.
        await _run("umount", "--lazy", str(self.folder))
        self.mounted = False

    async def _resize(self, size: str) -> str:
        return await _run("mount", "-o", f"remount,size={size}", str(self.folder))


async def _run(*command: str) -> str:
    """What it complained of; nothing where it did its work."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return str(error)
    _, said = await process.communicate()
    return (said.decode().strip() or f"status {process.returncode}") if process.returncode else ""


def _keeps_attributes(folder: Path) -> bool:
    probe = folder / ".probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError:
        return False
    finally:
        probe.unlink()
    return True
