"""Logs are cut in place, under the hands of whoever writes them."""

from pathlib import Path

from deploy.local.logs import cut


def test_a_long_log_moves_aside_and_its_writer_goes_on_at_the_top(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    with log.open("a") as writer:
        for number in range(5):
            writer.write(f"{number}" * 10 + "\n")
            writer.flush()
            cut(log, longest=10, kept=3)
        writer.write("still here\n")
    assert log.read_text() == "still here\n"
    kept = {path.name: path.read_text()[0] for path in tmp_path.iterdir() if path != log}
    assert kept == {"kafka.log.1": "4", "kafka.log.2": "3", "kafka.log.3": "2"}


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    log.write_text("short\n")
    cut(log, longest=10)
    assert [path.name for path in tmp_path.iterdir()] == ["kafka.log"]
