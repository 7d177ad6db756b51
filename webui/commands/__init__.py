"""One module a command, each with `main(arguments) -> exit code`; none is imported before it is asked for."""
