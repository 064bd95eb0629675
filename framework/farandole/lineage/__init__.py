"""What led to what, walked from the records of the topics alone.

Pure: entries are made from raw records by whoever read them; nothing here knows of logs,
coordinators' state or the clock. The history checker and `farandole lineage` stand on it.
"""
