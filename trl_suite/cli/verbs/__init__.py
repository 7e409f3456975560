"""A file for each verb of the command line, imported when the verb is called: listing envs waits for no torch."""
