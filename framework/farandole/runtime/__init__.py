"""The agent process of one unit: from its inboxes, through its handlers, to the log."""
