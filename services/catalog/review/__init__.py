"""People's decisions: made on the version they saw, taken back within the undo window, then facts."""
