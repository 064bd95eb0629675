"""`python -m farandole.cli`: the command line of the interpreter that runs this, wherever its scripts are."""

from farandole.cli.main import main

if __name__ == "__main__":
    main()
