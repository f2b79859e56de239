"""The catalog's HTTP side, a file a thing: jobs, assets, files, decisions, lives, events, dead letters."""
