"""`python -m cloudburst` is the command `cloudburst`."""

from cloudburst.cli import main

if __name__ == "__main__":
    main()
