//! The command line: arguments, exit codes, and what each subcommand prints.
