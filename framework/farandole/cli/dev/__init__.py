"""`farandole dev`: the log, a coordinator and the agents of a project in one terminal.

project ──► units ──► one child process each (child.py), restarted when their files change
                 └──► a coordinator in a thread, once the first unit is applied
events  ──► narrator ──► screen ◄── lines of the children
"""
