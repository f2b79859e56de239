"""What a backend is asked, small enough for the tiny pipeline."""

from uuid import UUID

from services.inference.backends import Generation

WORK = Generation(
    job_id=UUID(int=1),
    run=1,
    attempt_id=UUID(int=2),
    prompt="a red mug",
    negative_prompt="people",
    width=64,
    height=64,
    steps=4,
    guidance=5.0,
    scheduler="default",
    seed=7,
    model="tiny",
    scene={},
    label="product-tile@3",
)
