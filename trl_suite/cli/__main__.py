"""`python -m trl_suite.cli` is `trl-suite`."""

from trl_suite.cli.main import main

if __name__ == "__main__":
    main()
