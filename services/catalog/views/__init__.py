"""What the pages are drawn from: rows and facts put into the values of `web/view/`."""
