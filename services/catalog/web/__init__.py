"""The pages people use: Review, Jobs, one asset's life.

`view.py` is all a page knows, `pages.py` the addresses, `templates/` and `static/` the look. The scripts listen to
`/v1/events?after=<cursor>` (server-sent; `Last-Event-ID` wins on reconnect): `asset {asset_id, status}` when a picture
begins to wait for a person, `decision {asset_id, status, by, at}` (status `completed` when it was undone),
`job {job_id, status}`, and a `heartbeat` every 5 s.
"""
