"""`python -m tap_sage_accounting`, for where no scripts are installed."""

from tap_sage_accounting.cli import main

if __name__ == "__main__":
    main()
