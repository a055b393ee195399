"""`python -m tesserabench.cli` is `tbctl`."""

from tesserabench.cli.main import main

if __name__ == "__main__":
    main()
