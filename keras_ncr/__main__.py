"""`python -m keras_ncr`, the same as `keras-ncr`."""

from keras_ncr.cli.main import main

if __name__ == "__main__":
    main()
