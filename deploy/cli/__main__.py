"""`python -m deploy.cli` is `calotype`, also where nothing has been put on the path."""

from deploy.cli import main

main()
