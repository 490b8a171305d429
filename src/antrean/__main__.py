"""`python -m antrean`: the `antrean` command."""

from antrean.cli import main

main(prog_name="antrean")
