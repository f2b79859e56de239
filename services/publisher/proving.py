"""Whether signed files are what they claim to be, looked at before they leave and again where they arrived."""

from services.publisher.domain import Delivery, distrust
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.credentials import Verifier
from shared.errors import Rejected
from shared.events import PublicFile


class Proof:
    """Of one try of one delivery: what a target reads through it was verified."""

    def __init__(self, delivery: Delivery, *, blobs: Blobs, verifier: Verifier) -> None:
        self._asset = delivery.asset
        self._blobs = blobs
        self._verifier = verifier
        self._proved: set[str] = set()

    async def read(self, file: PublicFile) -> bytes:
        """A file's bytes, for a target. Raises Rejected with the code `provenance` where they are not to go out.

        Each is verified once in a try: what the store hands out has the hash that was proved.
        """
        extension = EXTENSIONS.get(file.media_type)
        if extension is None:
            raise Rejected("media_type", f"{file.media_type} is no type of ours", file.name, "process the job again")
        asset = self._asset
        data = await self._blobs.get(blob_key(asset.workspace, asset.asset_id, file.sha256, extension))
        if file.unsigned_sha256 is not None and file.sha256 not in self._proved:
            found = await self._verifier.read(data, file.media_type)
            refusal = distrust(file, found, anchored=self._verifier.anchors is not None)
            if refusal is not None:
                raise Rejected(refusal.code, refusal.detail, remedy=refusal.remedy)
            self._proved.add(file.sha256)
        return data

    async def complete(self) -> None:
        """Verifies what no target has read in this try; raises as `read` does.

        After a read-back that found every hash, these are the bytes that stand at the target.
        """
        for file in self._asset.files:
            if file.unsigned_sha256 is not None and file.sha256 not in self._proved:
                await self.read(file)
