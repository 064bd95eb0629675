"""Settings of a project, from its file and the environment: for the command line and for applications."""
