"""The command line: names, options and their help. What a command does is imported when it runs."""
