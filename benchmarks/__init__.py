"""Speed as ratios against what a user would take instead, both arms in one run, interleaved."""
