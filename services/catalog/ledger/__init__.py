"""Every fact once, what facts add up to, and the way back from any id to a whole life."""
