"""The catalog's environment."""

from pydantic import Field

from shared.settings import Settings


class CatalogSettings(Settings):
    """What every stage reads, and the region that pictures in a bucket of AWS are served from."""

    aws_region: str = Field(default="us-east-1", validation_alias="AWS_REGION")
