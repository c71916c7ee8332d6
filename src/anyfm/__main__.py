"""``python -m anyfm`` is the command ``anyfm``."""

from anyfm.cli import main

main()
