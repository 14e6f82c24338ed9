"""`python -m posttrain`: the same as the command `posttrain`."""

from posttrain.cli.main import main

if __name__ == "__main__":
    main()
