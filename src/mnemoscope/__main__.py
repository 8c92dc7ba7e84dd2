"""`python -m mnemoscope` is the command line too, for environments whose scripts are not on the path."""

from mnemoscope.cli.main import main

if __name__ == "__main__":
    main()
