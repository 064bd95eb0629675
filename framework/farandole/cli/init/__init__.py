"""`farandole init`: a new project from a template, working at once."""
