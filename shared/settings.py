"""What every process reads from its environment; a stage's own settings extend this. Only `app.py` reads them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class KafkaSettings(BaseSettings):
    """How to reach the broker."""

    model_config = SettingsConfigDict(env_prefix="CALOTYPE_")

    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    topic_prefix: str = ""
    topic_partitions: int = Field(default=12, ge=1, le=1024)
    topic_replication: int = Field(default=3, ge=1, le=15)


class Settings(KafkaSettings):
    """One service's environment. Defaults are safe, and fit a machine of one's own."""

    database_url: SecretStr = Field(default=SecretStr(""), validation_alias="DATABASE_URL")
    database_direct_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_DIRECT_URL",
        description="Past a transaction pooler: session locks and LISTEN need it",
    )
    blobs_url: str = "file:///tmp/calotype-blobs"
    s3_endpoint: str | None = None
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    public_url: str = "http://127.0.0.1:8000"
    session_secret: SecretStr = SecretStr("")
    bootstrap_token: SecretStr = SecretStr("")
    trace_sample: float = Field(default=0.01, ge=0, le=1)
    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    lease_seconds: float = Field(default=30.0, gt=0, le=3600)
    outbox_keep_seconds: float = Field(
        default=0.0, ge=0, le=4, description="How long after its acknowledgement Kafka may still lose an event"
    )
    history_days: int = Field(
        default=35,
        ge=1,
        description="Finished work is kept so long, at least until nothing that asked for it can come again",
    )
    max_records: int = Field(default=500, ge=1, le=5000)
    crash: str = Field(default="", description="For fault tests: stage.point:n, where a process kills itself")
    crash_log: Path | None = None
    session_seconds: float = Field(
        default=10.0, ge=1, le=300, description="A consumer that is silent for so long loses its partitions"
    )
